//! The values of a call: all parameters together, and the result ("Lifting and Lowering Values").
//!
//! Which side of a call is lifted and which lowered is the caller's to say: for an export ([`CallKind::Lift`]) the host
//! lowers parameters and lifts the result, for an import ([`CallKind::Lower`]) it lifts parameters and lowers the result.

use super::cursor::{Of, Place};
use super::error::{AbiError, AbiErrorKind, Segment};
use super::lift::{LiftContext, too_few};
use super::lower::{FlatValues, LowerContext};
use super::lower_val::count;
use super::{Lift, Lower, MAX_LIST_BYTES, Params};
use crate::types::{CallKind, FuncTypeId, ValType};
use crate::val::Val;

impl LiftContext<'_> {
    /// The parameters of a call.
    ///
    /// # Errors
    /// If one can't be lifted.
    pub fn params(&mut self, func: FuncTypeId, kind: CallKind) -> Result<Vec<Val>, AbiError> {
        let types = self.types;
        let func = types.func(func);
        let mut next = self.begin(&func.params_abi(), kind.max_flat_params())?;
        let mut values = self.list_of(func.params().len() as u64)?;
        for param in func.params() {
            let value = self.next_val(param.ty, &mut next);
            let in_param = |error: AbiError| error.within(Segment::Param(param.name.clone()));
            values.push(value.map_err(in_param)?);
        }
        Ok(values)
    }

    /// The parameters of a call as Rust types, which were [checked](Params::check_params).
    ///
    /// # Errors
    /// If one can't be lifted.
    pub fn params_as<P: Params + Lift>(
        &mut self,
        func: FuncTypeId,
        kind: CallKind,
    ) -> Result<P, AbiError> {
        let types = self.types;
        let begin = self.begin(&P::ABI, kind.max_flat_params())?;
        let params = self.value(begin, Of::Params(func));
        params.map_err(|error: AbiError| {
            error.within_params(|index| {
                let param = types.func(func).params().get(index as usize);
                param.map(|param| param.name.clone())
            })
        })
    }

    /// The result of a call.
    ///
    /// # Errors
    /// If it can't be lifted.
    pub fn result(&mut self, func: FuncTypeId, kind: CallKind) -> Result<Option<Val>, AbiError> {
        let types = self.types;
        let func = types.func(func);
        let Some(ty) = func.result() else {
            return Ok(None);
        };
        let begin = self.begin(&func.result_abi(), kind.max_flat_results());
        let value = begin.and_then(|begin| self.val(ty, begin));
        Ok(Some(value.map_err(|error| error.within(Segment::Result))?))
    }

    /// The result of a call as a Rust type, which was [checked](super::ComponentType::check_optional); `()` if there is
    /// none.
    ///
    /// # Errors
    /// If it can't be lifted.
    pub fn result_as<R: Lift>(&mut self, func: FuncTypeId, kind: CallKind) -> Result<R, AbiError> {
        let ty = self.types.func(func).result();
        let begin = self.begin(&R::ABI, kind.max_flat_results());
        let of = ty.map_or(Of::Params(func), Of::Value);
        let value = begin.and_then(|begin| self.value(begin, of));
        value.map_err(|error| error.within(Segment::Result))
    }

    /// Values of this type in a buffer of the guest, one behind the other: what it writes to a stream or a future.
    ///
    /// # Errors
    /// If the buffer is not within the memory, not aligned, or a value can't be lifted.
    pub fn buffer(&mut self, ty: ValType, address: u64, length: u32) -> Result<Vec<Val>, AbiError> {
        let abi = self.types.abi(ty);
        let layout = abi.layout(self.address());
        super::lift::aligned(address, layout.align)?;
        self.range(address, u64::from(layout.size) * u64::from(length))?;
        self.vals(ty, &abi, Place::Memory(address), length.into())
    }
}

impl LowerContext<'_> {
    /// Lowers the parameters of a call: to these core values.
    ///
    /// # Errors
    /// If one is not of the function's type, or can't be lowered.
    pub fn params(
        &mut self,
        func: FuncTypeId,
        kind: CallKind,
        values: &[Val],
    ) -> Result<FlatValues, AbiError> {
        let types = self.types;
        let func = types.func(func);
        count(func.params().len(), values.len())?;
        let limit = kind.max_flat_params();
        let (mut next, length) = self.begin(&func.params_abi(), limit, None)?;
        for (param, value) in func.params().iter().zip(values) {
            let put = self.put_next_val(param.ty, &mut next, value);
            put.map_err(|error| error.within(Segment::Param(param.name.clone())))?;
        }
        Ok(self.finish(length))
    }

    /// Lowers the parameters of a call from Rust types, which were [checked](Params::check_params).
    ///
    /// # Errors
    /// If one can't be lowered.
    pub fn params_as<P: Params + Lower>(
        &mut self,
        func: FuncTypeId,
        kind: CallKind,
        params: &P,
    ) -> Result<FlatValues, AbiError> {
        let types = self.types;
        let (begin, length) = self.begin(&P::ABI, kind.max_flat_params(), None)?;
        let put = self.value(params, begin, Of::Params(func));
        put.map_err(|error: AbiError| {
            error.within_params(|index| {
                let param = types.func(func).params().get(index as usize);
                param.map(|param| param.name.clone())
            })
        })?;
        Ok(self.finish(length))
    }

    /// Lowers the result of a call: to these core values, or to where the last of the call's arguments points to.
    ///
    /// # Errors
    /// If it is not of the function's type, or can't be lowered.
    pub fn result(
        &mut self,
        func: FuncTypeId,
        kind: CallKind,
        value: Option<&Val>,
        args: &[u64],
    ) -> Result<FlatValues, AbiError> {
        let types = self.types;
        let func = types.func(func);
        let lowered = self.begin_result(&func.result_abi(), kind, args);
        let lowered = lowered.and_then(|(begin, length)| {
            match (func.result(), value) {
                (Some(ty), Some(value)) => self.put_val(ty, begin, value)?,
                (ty, value) => count(ty.iter().len(), value.iter().len())?,
            }
            Ok(self.finish(length))
        });
        lowered.map_err(|error| error.within(Segment::Result))
    }

    /// Lowers the result of a call from a Rust type, which was [checked](super::ComponentType::check_optional); `()` if
    /// there is none.
    ///
    /// # Errors
    /// If it can't be lowered.
    pub fn result_as<R: Lower>(
        &mut self,
        func: FuncTypeId,
        kind: CallKind,
        value: &R,
        args: &[u64],
    ) -> Result<FlatValues, AbiError> {
        let of = self.types.func(func).result();
        let of = of.map_or(Of::Params(func), Of::Value);
        let lowered = self.begin_result(&R::ABI, kind, args);
        let lowered = lowered.and_then(|(begin, length)| {
            self.value(value, begin, of)?;
            Ok(self.finish(length))
        });
        lowered.map_err(|error| error.within(Segment::Result))
    }

    fn begin_result(
        &mut self,
        abi: &crate::types::Abi,
        kind: CallKind,
        args: &[u64],
    ) -> Result<(Place, usize), AbiError> {
        let limit = kind.max_flat_results();
        let out = match usize::from(abi.flat) > limit {
            true => Some(*args.last().ok_or_else(too_few)?),
            false => None,
        };
        self.begin(abi, limit, out)
    }

    /// Lowers values of this type to a buffer of the guest, one behind the other: what it reads from a stream or a future.
    ///
    /// # Errors
    /// If the buffer is not within the memory, not aligned, or a value can't be lowered.
    pub fn buffer(&mut self, ty: ValType, address: u64, values: &[Val]) -> Result<(), AbiError> {
        let abi = self.types.abi(ty);
        let layout = abi.layout(self.address());
        super::lift::aligned(address, layout.align)?;
        let bytes = (values.len() as u64).saturating_mul(layout.size.into());
        if bytes > MAX_LIST_BYTES {
            return Err(AbiErrorKind::LongList(bytes).into());
        }
        self.range(address, bytes)?;
        self.put_vals(ty, &abi, Place::Memory(address), values)
    }
}
