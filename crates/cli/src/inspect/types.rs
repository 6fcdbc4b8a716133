//! The types that a module defines, but for those of functions that are nothing else: these are written out where they are used.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;
use tiered::Module;
use tiered::decode::index::TypeIdx;
use tiered::decode::types::CompositeKind;

/// A type. It names others by their indices.
#[derive(Serialize)]
pub(super) struct Type {
    index: u32,
    /// The first and the last type of its recursion group, if there are others in it.
    group: Option<[u32; 2]>,
    r#final: bool,
    supertype: Option<u32>,
    kind: &'static str,
    r#type: String,
}

impl Type {
    /// Those of `module` that are shown.
    pub(super) fn all_of(module: &Module) -> Vec<Type> {
        let types = module.types();
        let text = types.text();
        let all = (0..).zip(types.iter()).map(|(index, ty)| {
            let group = types.group(TypeIdx(index));
            Type {
                index,
                group: (group.len() > 1).then(|| [group.start, group.end - 1]),
                r#final: ty.is_final,
                supertype: text.supertype(ty).map(|supertype| supertype.0),
                kind: match ty.composite.kind() {
                    CompositeKind::Func => "func",
                    CompositeKind::Struct => "struct",
                    CompositeKind::Array => "array",
                },
                r#type: text.composite(TypeIdx(index)).to_string(),
            }
        });
        all.filter(|ty| !ty.is_plain()).collect()
    }

    /// Whether it is a function type alone in its group, without subtypes and supertypes.
    fn is_plain(&self) -> bool {
        self.kind == "func" && self.r#final && self.supertype.is_none() && self.group.is_none()
    }
}

impl Display for Type {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.index)?;
        if let Some([first, last]) = self.group {
            write!(f, " (rec {first}..{last})")?;
        }
        f.write_str(": ")?;
        match (self.r#final, self.supertype) {
            (true, None) => {}
            (false, None) => f.write_str("sub ")?,
            (true, Some(supertype)) => write!(f, "sub final {supertype} ")?,
            (false, Some(supertype)) => write!(f, "sub {supertype} ")?,
        }
        f.write_str(&self.r#type)
    }
}
