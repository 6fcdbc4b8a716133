//! Exceptions: what throws them, catches them, keeps them and throws them again.
//!
//! *Invariant:* no handler goes back, so what is thrown ends some block.

use arbitrary::{Result, Unstructured};
use wasm_encoder::{
    BlockType, Catch, Instruction, RefType, TagKind, TagSection, TagType, ValType as Ty,
};

use super::count::CAUGHT;
use super::types::{Types, non_null};
use super::{Body, Extent};

/// A reference to an exception.
const EXN: Ty = Ty::Ref(non_null(RefType::EXNREF));

/// What exceptions of each tag carry: of the first, which is the host's, nothing; of the second, a number; of two more,
/// anything. None, if there are no exceptions.
pub(super) fn some_tags(
    u: &mut Unstructured<'_>,
    types: &Types,
    extent: Extent,
) -> Result<Vec<Vec<Ty>>> {
    if !extent.exceptions {
        return Ok(Vec::new());
    }
    let (some, more) = (types.some(u, 1, false)?, types.some(u, 5, false)?);
    Ok(vec![Vec::new(), vec![Ty::I32], some, more])
}

/// The type of a tag.
pub(super) fn tag_type(types: &Types, params: &[Ty]) -> TagType {
    TagType {
        kind: TagKind::Exception,
        func_type_idx: types.func_type(params, &[]),
    }
}

/// The tags that are not imported.
pub(super) fn section(types: &Types, tags: &[Vec<Ty>]) -> TagSection {
    let mut section = TagSection::new();
    for params in tags {
        section.tag(tag_type(types, params));
    }
    section
}

impl Body<'_, '_> {
    /// Something that throws or catches; there is room to nest.
    pub(super) fn exception_statement(&mut self, depth: u32) -> Result<()> {
        match self.u.int_in_range(0..=9)? {
            0 => self.if_throw(depth),
            1 => {
                self.reference(RefType::EXNREF, depth.min(2))?;
                self.keep(&[RefType::EXNREF.into()])
            }
            2 => self.if_throw_again(depth),
            _ => self.try_statement(depth),
        }
    }

    /// A throw behind a condition.
    fn if_throw(&mut self, depth: u32) -> Result<()> {
        self.value(Ty::I32, depth.min(2))?;
        self.op(Instruction::If(BlockType::Empty));
        self.labels.push(Vec::new());
        self.throw(depth.min(1))?;
        self.end_block();
        Ok(())
    }

    /// A throw of some tag, with operands below what it takes perhaps.
    fn throw(&mut self, depth: u32) -> Result<()> {
        let junk = self.types.some(self.u, 2, false)?;
        self.values(&junk, 0)?;
        let tag = self.u.choose_index(self.tags.len())?;
        self.throw_of(tag as u32, depth)
    }

    fn throw_of(&mut self, tag: u32, depth: u32) -> Result<()> {
        let tags = self.tags;
        self.values(&tags[tag as usize], depth)?;
        self.op(Instruction::Throw(tag));
        Ok(())
    }

    /// A throw of an exception that was caught, or of none, behind a condition.
    fn if_throw_again(&mut self, depth: u32) -> Result<()> {
        self.value(Ty::I32, depth.min(2))?;
        self.op(Instruction::If(BlockType::Empty));
        self.labels.push(Vec::new());
        let null = self.u.ratio(1, 6)?;
        let ty = RefType::EXNREF;
        self.reference(if null { ty } else { non_null(ty) }, depth.min(2))?;
        self.op(Instruction::ThrowRef);
        self.end_block();
        Ok(())
    }

    /// Statements whose exceptions are caught by up to three clauses, each with a handler of its own.
    fn try_statement(&mut self, depth: u32) -> Result<()> {
        let count = self.u.int_in_range(1..=3)?;
        let mut clauses = Vec::new();
        for label in 0..count {
            clauses.push(self.clause(label)?);
        }
        self.op(Instruction::Block(BlockType::Empty));
        self.labels.push(Vec::new());
        // The first clause's handler is behind the innermost block.
        for (_, _, takes) in clauses.iter().rev() {
            let ty = self.types.block(&[], takes);
            self.op(Instruction::Block(ty));
            self.labels.push(takes.clone());
        }
        let catches: Vec<Catch> = clauses.iter().map(|clause| clause.0.clone()).collect();
        self.op(Instruction::TryTable(BlockType::Empty, catches.into()));
        self.labels.push(Vec::new());
        self.statements(depth - 1)?;
        if self.u.ratio(1, 2)? {
            self.if_throw(depth - 1)?;
        }
        // What is called may not return.
        if self.u.ratio(1, 2)? {
            self.call(depth - 1, None)?;
        } else {
            // Mostly what a clause is for.
            let tag = self.u.choose_index(self.tags.len())?;
            let tag = match &clauses[0].0 {
                Catch::One { tag, .. } | Catch::OneRef { tag, .. } => *tag,
                _ => tag as u32,
            };
            self.throw_of(tag, 1)?;
        }
        self.end_block();
        for (index, (_, kind, takes)) in clauses.iter().enumerate() {
            self.op(Instruction::Br((clauses.len() - index) as u32));
            self.end_block();
            self.reached(CAUGHT[*kind]);
            self.handler(takes, depth - 1)?;
        }
        self.end_block();
        Ok(())
    }

    /// A clause of one of the four kinds, the number of the kind, and what the label takes.
    fn clause(&mut self, label: u32) -> Result<(Catch, usize, Vec<Ty>)> {
        let index = self.u.choose_index(self.tags.len())?;
        let (tag, mut takes) = (index as u32, self.tags[index].clone());
        Ok(match self.u.int_in_range(0..=3)? {
            0 => (Catch::One { tag, label }, 0, takes),
            1 => {
                takes.push(EXN);
                (Catch::OneRef { tag, label }, 1, takes)
            }
            2 => (Catch::All { label }, 2, Vec::new()),
            _ => (Catch::AllRef { label }, 3, vec![EXN]),
        })
    }

    /// What is done with the values that a clause gives: an exception may be thrown again.
    fn handler(&mut self, takes: &[Ty], depth: u32) -> Result<()> {
        let mut takes = takes;
        if let [below @ .., EXN] = takes
            && self.u.ratio(1, 3)?
        {
            self.value(Ty::I32, 1)?;
            let ty = self.types.block(&[EXN], &[]);
            self.op(Instruction::If(ty));
            self.labels.push(Vec::new());
            self.op(Instruction::ThrowRef);
            self.op(Instruction::Else);
            self.keep(&[EXN])?;
            self.end_block();
            takes = below;
        }
        self.keep(takes)?;
        self.statements(depth.min(1))
    }

    /// A value from within a `try_table`, or from the exception that was thrown there.
    pub(super) fn try_value(&mut self, ty: Ty, depth: u32) -> Result<()> {
        let carries = |tag: &usize| match &self.tags[*tag][..] {
            [one] => self.types.is_sub(*one, ty),
            _ => false,
        };
        let tags: Vec<usize> = (0..self.tags.len()).filter(carries).collect();
        if tags.is_empty() {
            return self.block_value(ty, depth);
        }
        let tag = *self.u.choose(&tags)?;
        self.op(Instruction::Block(BlockType::Result(ty)));
        self.labels.push(vec![ty]);
        let catch = Catch::One {
            tag: tag as u32,
            label: 0,
        };
        let result = BlockType::Result(ty);
        self.op(Instruction::TryTable(result, vec![catch].into()));
        self.labels.push(vec![ty]);
        self.statements(depth.min(1))?;
        if self.u.ratio(1, 2)? {
            self.value(Ty::I32, depth.min(1))?;
            self.op(Instruction::If(BlockType::Empty));
            self.labels.push(Vec::new());
            let carried = self.tags[tag][0];
            self.value(carried, depth.min(1))?;
            self.op(Instruction::Throw(tag as u32));
            self.end_block();
        }
        self.value(ty, depth)?;
        self.end_block();
        self.end_block();
        Ok(())
    }

    /// An exception that is thrown and caught at once.
    pub(super) fn exception(&mut self, depth: u32) -> Result<()> {
        self.op(Instruction::Block(BlockType::Result(EXN)));
        self.labels.push(vec![EXN]);
        let catch = vec![Catch::AllRef { label: 0 }];
        self.op(Instruction::TryTable(BlockType::Empty, catch.into()));
        self.labels.push(Vec::new());
        // Of the first two, which no exception is needed for to throw.
        let tag = self.u.int_in_range(0..=1)?;
        let tags = self.tags;
        self.values(&tags[tag], depth)?;
        self.op(Instruction::Throw(tag as u32));
        self.end_block();
        self.op(Instruction::Unreachable);
        self.end_block();
        Ok(())
    }
}
