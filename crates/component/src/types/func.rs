//! Function types, and the core signatures that the canonical ABI gives them ("Flattening", `flatten_functype`).

use super::layout::TOO_MANY_FLAT;
use super::{
    Abi, AddressType, FlatType, FlatTypes, Label, MAX_FLAT_ASYNC_PARAMS, MAX_FLAT_PARAMS,
    MAX_FLAT_RESULTS, TypeError, Types, ValType,
};

/// The number of a function type in its [`Types`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FuncTypeId(u32);

/// A parameter of a function.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Param {
    /// Its name.
    pub name: Label,
    /// Its type.
    pub ty: ValType,
}

/// What makes two function types the same.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct FuncKey {
    params: Box<[Param]>,
    result: Option<ValType>,
    is_async: bool,
}

/// The type of a component's function.
#[derive(Debug)]
pub struct FuncType {
    key: FuncKey,
    params: (Abi, FlatTypes),
    result: (Abi, FlatTypes),
}

/// Which way a function passes between a component and its outside, and how it is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CallKind {
    /// `canon lift`: a core function that the outside calls.
    Lift,
    /// `canon lift` with `async`, without `callback`: the result comes by `task.return`.
    LiftAsync,
    /// `canon lift` with `async` and `callback`: the core function says what it waits for.
    LiftCallback,
    /// `canon lower`: a core function that calls the outside.
    Lower,
    /// `canon lower` with `async`: the core function returns the state of the call.
    LowerAsync,
}

impl CallKind {
    /// The most core values that parameters are passed as.
    pub const fn max_flat_params(self) -> usize {
        match self {
            CallKind::LowerAsync => MAX_FLAT_ASYNC_PARAMS,
            _ => MAX_FLAT_PARAMS,
        }
    }

    /// The most core values that a result is passed as. Of a function that is lifted async, this is as `task.return` takes
    /// it.
    pub const fn max_flat_results(self) -> usize {
        match self {
            CallKind::Lift | CallKind::Lower => MAX_FLAT_RESULTS,
            CallKind::LiftAsync | CallKind::LiftCallback => MAX_FLAT_PARAMS,
            CallKind::LowerAsync => 0,
        }
    }
}

/// The type of the core function that a component's function is lifted from, or lowered to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct CoreSignature {
    /// Parameters.
    pub params: Vec<FlatType>,
    /// Results, at most one.
    pub results: Vec<FlatType>,
}

impl FuncType {
    /// Its parameters.
    pub fn params(&self) -> &[Param] {
        &self.key.params
    }

    /// The type of its result.
    pub fn result(&self) -> Option<ValType> {
        self.key.result
    }

    /// Whether it is an `async` one.
    pub fn is_async(&self) -> bool {
        self.key.is_async
    }

    /// How all parameters together are passed, as a tuple.
    pub fn params_abi(&self) -> Abi {
        self.params.0
    }

    /// How the result is passed; that of nothing if there is none.
    pub fn result_abi(&self) -> Abi {
        self.result.0
    }

    /// The core function that goes with it.
    pub fn core_signature(&self, kind: CallKind, address: AddressType) -> CoreSignature {
        let passed = |(abi, flat): &(Abi, FlatTypes), limit| match usize::from(abi.flat) > limit {
            true => (vec![address.flat()], true),
            false => (flat.get(address).to_vec(), false),
        };
        let (mut params, _) = passed(&self.params, kind.max_flat_params());
        let (result, is_indirect) = passed(&self.result, kind.max_flat_results());
        let results = match kind {
            CallKind::Lift => result,
            CallKind::LiftAsync => Vec::new(),
            CallKind::LiftCallback => vec![FlatType::I32],
            CallKind::Lower | CallKind::LowerAsync => {
                let results = match is_indirect {
                    true => {
                        params.extend(&result);
                        Vec::new()
                    }
                    false => result,
                };
                match kind {
                    CallKind::LowerAsync => vec![FlatType::I32],
                    _ => results,
                }
            }
        };
        CoreSignature { params, results }
    }
}

impl Types {
    /// The function type of these parts, which is the same as that of equal ones before.
    ///
    /// # Errors
    /// If the parameters together are too large, or name a type that is not defined.
    pub fn define_func(
        &mut self,
        params: Vec<Param>,
        result: Option<ValType>,
        is_async: bool,
    ) -> Result<FuncTypeId, TypeError> {
        let key = FuncKey {
            params: params.into(),
            result,
            is_async,
        };
        if let Some(&id) = self.func_ids.get(&key) {
            return Ok(id);
        }
        let types: Vec<ValType> = key.params.iter().map(|param| param.ty).collect();
        let func = FuncType {
            params: self.passed(&types)?,
            result: self.passed(result.as_slice())?,
            key: key.clone(),
        };
        let id = FuncTypeId(u32::try_from(self.funcs.len()).map_err(|_| TypeError::TooMany)?);
        self.funcs.push(func);
        self.func_ids.insert(key, id);
        Ok(id)
    }

    /// A function type.
    ///
    /// # Panics
    /// Panics if the id is of other `Types`.
    pub fn func(&self, id: FuncTypeId) -> &FuncType {
        &self.funcs[id.0 as usize]
    }

    /// How values of these types are passed together.
    fn passed(&self, types: &[ValType]) -> Result<(Abi, FlatTypes), TypeError> {
        let is_known = |ty: &ValType| match *ty {
            ValType::Defined(id) => (id.0 as usize) < self.defined.len(),
            _ => true,
        };
        if !types.iter().all(is_known) {
            return Err(TypeError::Unknown);
        }
        let abis: Vec<Abi> = types.iter().map(|&ty| self.abi(ty)).collect();
        let abi = Abi::try_record(&abis).ok_or(TypeError::TooLarge)?;
        let mut flat = FlatTypes::default();
        if abi.flat != TOO_MANY_FLAT {
            for address in [AddressType::I32, AddressType::I64] {
                let all = types.iter().filter_map(|&ty| self.flat(ty, address));
                *flat.get_mut(address) = all.flatten().copied().collect();
            }
        }
        Ok((abi, flat))
    }
}
