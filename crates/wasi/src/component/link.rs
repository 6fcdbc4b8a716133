//! Binds the rows to the component model.

use tiered_component::{LinkError, Linker};
use tiered_runtime::Trap;
use tiered_runtime::decode::types::ValType;

use crate::component::call::{Call, Lowered, Outcome, Parts};
use crate::component::lower::ResultForm;
use crate::component::resources::{Kind, TypeName, Version};
use crate::component::rows::{Core, Interface, Row};
use crate::ctx::WasiCtx;

/// Defines the resources and the functions of a version in `linker`; `get` finds the context in the store's data.
pub(crate) fn define<T: 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> &mut WasiCtx,
    version: Version,
    interfaces: &'static [Interface],
) -> Result<(), LinkError> {
    for ty in Kind::ALL.iter().filter_map(|kind| kind.in_version(version)) {
        linker.resource(ty.interface, ty.name, ty.host, move |mut caller, rep| {
            let resources = &mut get(caller.data_mut()).resources;
            // What it gives back is closed here.
            resources.remove(rep).map(drop)
        })?;
    }
    for interface in interfaces {
        for row in interface.rows {
            let (params, results) = signature(row);
            linker.lowered(interface.name, row.name, &params, &results, move |inner| {
                (row.body)(&mut Call::new(&mut Bridge {
                    inner,
                    get,
                    version,
                }))
            })?;
        }
    }
    Ok(())
}

/// The flat signature of a row, as its import has it.
pub(crate) fn signature(row: &Row) -> (Vec<ValType>, Vec<ValType>) {
    let mut params: Vec<_> = row
        .params
        .iter()
        .map(|param| match param {
            Core::I32 => ValType::I32,
            Core::I64 => ValType::I64,
        })
        .collect();
    let mut results = Vec::new();
    match row.result {
        ResultForm::Nothing => {}
        ResultForm::I32 => results.push(ValType::I32),
        ResultForm::I64 => results.push(ValType::I64),
        ResultForm::Stored { .. } => params.push(ValType::I32),
    }
    (params, results)
}

/// The component model's side of a call.
struct Bridge<'b, 'a, T: 'static> {
    inner: &'b mut tiered_component::Lowered<'a, T>,
    get: fn(&mut T) -> &mut WasiCtx,
    version: Version,
}

impl<T: 'static> Bridge<'_, '_, T> {
    fn ty(&self, kind: Kind) -> Outcome<TypeName> {
        let ty = kind.in_version(self.version);
        ty.ok_or_else(|| Trap::message("a resource that this version of WASI has not"))
    }
}

impl<T: 'static> Lowered for Bridge<'_, '_, T> {
    fn arg(&self, index: usize) -> u64 {
        self.inner.arg_u64(index)
    }

    fn set_result(&mut self, bits: u64) {
        self.inner.return_u64(bits);
    }

    fn parts(&mut self) -> Parts<'_> {
        let (data, bytes, meter) = self.inner.memory_and_meter();
        Parts {
            ctx: (self.get)(data),
            bytes,
            meter: Some(meter),
        }
    }

    fn realloc(&mut self, align: u32, size: u32) -> Outcome<u32> {
        self.inner.realloc(0, 0, align, size)
    }

    fn push_own(&mut self, kind: Kind, rep: u32) -> Outcome<u32> {
        let ty = self.ty(kind)?;
        self.inner.push_own(ty.host, rep)
    }

    fn rep(&mut self, kind: Kind, handle: u32) -> Outcome<u32> {
        let ty = self.ty(kind)?;
        self.inner.rep(ty.host, handle)
    }
}
