//! The descriptors of a store: one for each canonical type, so that equal types of different modules have the same.
//!
//! * *Invariant:* a descriptor stays as long as its store, whose modules keep the type's number.

use std::collections::HashMap;
use std::ptr::NonNull;

use tiered_decode::Module;
use tiered_decode::index::TypeIdx;
use tiered_decode::types::TypeId;
use tiered_heap::{Descriptor, OwnedDescriptor, TypeInfo};

use super::layouts::{TypeLayout, type_info};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Descriptors {
    /// By the type's number.
    types: HashMap<u32, (TypeId, OwnedDescriptor)>,
}

impl Descriptors {
    /// The descriptor of a module's type; `None` for a function type. Those of its supertypes are there already, or it is
    /// one of a module that has an instance.
    pub(crate) fn of_module(
        &mut self,
        module: &Module,
        ty: TypeIdx,
    ) -> Option<NonNull<Descriptor>> {
        let id = module.types().id(ty);
        if let Some(known) = self.get(id) {
            return Some(known);
        }
        let layout = &type_info(module, ty).layout;
        let definition = &module.types()[ty.index()];
        self.add(id, definition.supertype, definition.is_final, layout)
    }

    /// The descriptor of a type that the store has met.
    pub(crate) fn get(&self, id: TypeId) -> Option<NonNull<Descriptor>> {
        let (_, descriptor) = self.types.get(&id.number())?;
        Some(descriptor.pointer())
    }

    /// The type that has this number, if the store has met it.
    pub(crate) fn id(&self, number: u32) -> Option<TypeId> {
        self.types.get(&number).map(|&(id, _)| id)
    }

    fn add(
        &mut self,
        id: TypeId,
        supertype: Option<TypeId>,
        is_final: bool,
        layout: &TypeLayout,
    ) -> Option<NonNull<Descriptor>> {
        if matches!(layout, TypeLayout::Func) {
            return None;
        }
        let info = TypeInfo {
            id: id.number(),
            supertype: supertype.map(|id| {
                let above = self.types.get(&id.number());
                &above.expect("supertypes come first").1
            }),
            is_final,
        };
        let descriptor = match layout {
            TypeLayout::Func => return None,
            TypeLayout::Struct(layout) => OwnedDescriptor::of_struct(info, layout),
            TypeLayout::Array(element) => OwnedDescriptor::of_array(info, *element),
        };
        let descriptor = descriptor.expect("validation allows 63 supertypes");
        let pointer = descriptor.pointer();
        self.types.insert(id.number(), (id, descriptor));
        Some(pointer)
    }
}
