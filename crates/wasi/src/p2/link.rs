//! Binds the rows to the component model.

use tiered_component::{LinkError, Linker};
use tiered_runtime::decode::types::ValType;

use crate::ctx::WasiCtx;
use crate::p2::INTERFACES;
use crate::p2::call::{Call, Lowered, Outcome, Parts};
use crate::p2::lower::ResultForm;
use crate::p2::resources::Kind;
use crate::p2::rows::{Core, Row};

/// Defines WASI 0.2 in `linker`, HTTP with the feature `http`; `get` finds the context in the store's data.
///
/// ```
/// use tiered_wasi::WasiCtx;
///
/// let mut linker = tiered_component::Linker::<WasiCtx>::new();
/// tiered_wasi::p2::add_to_linker(&mut linker, |ctx| ctx)?;
/// # Ok::<(), tiered_component::LinkError>(())
/// ```
///
/// # Errors
/// The linker has a definition of one of these names.
pub fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> &mut WasiCtx,
) -> Result<(), LinkError> {
    for &kind in Kind::ALL {
        linker.resource(
            kind.interface(),
            kind.name(),
            kind.host(),
            move |mut caller, rep| {
                let resources = &mut get(caller.data_mut()).resources;
                // What it gives back is closed here.
                resources.remove(rep).map(drop)
            },
        )?;
    }
    for interface in INTERFACES {
        for &row in interface.rows {
            let (params, results) = signature(&row);
            let body = row.body;
            linker.lowered(interface.name, row.name, &params, &results, move |inner| {
                body(&mut Call::new(&mut Bridge { inner, get }))
            })?;
        }
    }
    Ok(())
}

/// The flat signature of a row, as its import has it.
pub(super) fn signature(row: &Row) -> (Vec<ValType>, Vec<ValType>) {
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
        self.inner.push_own(kind.host(), rep)
    }

    fn rep(&mut self, kind: Kind, handle: u32) -> Outcome<u32> {
        self.inner.rep(kind.host(), handle)
    }

    #[cfg(feature = "http")]
    fn take_own(&mut self, kind: Kind, handle: u32) -> Outcome<u32> {
        self.inner.take_own(kind.host(), handle)
    }
}
