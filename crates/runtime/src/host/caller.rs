//! What a host function sees of its caller.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use crate::external::Extern;
use crate::handles::{Handle, Memory};
use crate::host::Meter;
use crate::instance::Instance;
use crate::shared_memory::SharedMemory;
use crate::store::AnyStore;
use crate::vm::vmctx::VmCtx;

/// What a host function sees of its caller: the store, the host's data in it, and the calling instance.
#[derive(Debug)]
pub struct Caller<'a, T: 'static> {
    store: &'a mut AnyStore,
    instance: Option<NonNull<VmCtx>>,
    data: PhantomData<fn() -> T>,
}

impl<'a, T: 'static> Caller<'a, T> {
    pub(super) fn new(store: &'a mut AnyStore, instance: Option<NonNull<VmCtx>>) -> Caller<'a, T> {
        Caller {
            store,
            instance,
            data: PhantomData,
        }
    }

    /// The same for a shorter time, to pass on what is still needed afterwards.
    pub fn reborrow(&mut self) -> Caller<'_, T> {
        Caller::new(self.store, self.instance)
    }

    /// The host's data.
    pub fn data(&self) -> &T {
        self.store.host_data()
    }

    /// The host's data, to change.
    pub fn data_mut(&mut self) -> &mut T {
        self.store.host_data_mut()
    }

    /// The calling instance; `None` if the host itself calls.
    pub fn instance(&self) -> Option<Instance> {
        let record = self.instance?;
        Some(Instance(Handle {
            store: self.store.id(),
            record,
        }))
    }

    /// What the calling instance exports as `name`; a memory of any name is `caller.export(name)?.memory()?`.
    #[doc(alias = "get_export")]
    pub fn export(&self, name: &str) -> Option<Extern> {
        self.instance()?.export(self.store, name)
    }

    /// The memory that the calling instance exports as `memory`.
    pub fn memory(&self) -> Option<Memory> {
        // SAFETY: an instance lives as long as its store, which is borrowed.
        let record = unsafe { self.instance?.as_ref() }.exported_memory()?;
        Some(Memory(Handle {
            store: self.store.id(),
            record,
        }))
    }

    /// [`Caller::memory`], if it is one that threads share.
    pub fn shared_memory(&self) -> Option<SharedMemory> {
        self.memory()?.shared(self.store)
    }

    /// The bytes of [`Caller::memory`] together with the host's data; none of a memory that threads share, as in
    /// [`Memory::data`].
    pub fn memory_and_data(&mut self) -> Option<(&mut [u8], &mut T)> {
        let memory = self.memory()?;
        Some(self.bytes_and_data(memory))
    }

    /// The bytes of `memory` together with the host's data; none of a memory that threads share.
    ///
    /// # Panics
    /// If the memory is of another store.
    #[doc(alias = "data_and_store_mut")]
    #[inline]
    pub fn bytes_and_data(&mut self, memory: Memory) -> (&mut [u8], &mut T) {
        // SAFETY: the store is borrowed mutably as long as the bytes are, and its data is no part of a memory.
        let bytes = unsafe { memory.0.record(self.store).bytes_mut() };
        (bytes, self.store.host_data_mut())
    }

    /// The bytes of [`Caller::memory`], `None` if there is none, together with the host's data and what work on them is
    /// [charged](Meter::charge) to. Of a memory that threads share there are none: [`Caller::shared_memory`].
    pub fn memory_data_and_meter(&mut self) -> (Option<&mut [u8]>, &mut T, Meter<'_>) {
        match self.memory() {
            Some(memory) => {
                let (bytes, data, meter) = self.bytes_data_and_meter(memory);
                (Some(bytes), data, meter)
            }
            None => {
                let (data, meter) = self.data_and_meter();
                (None, data, meter)
            }
        }
    }

    /// [`Caller::bytes_and_data`], and what work on them is [charged](Meter::charge) to.
    ///
    /// # Panics
    /// If the memory is of another store.
    #[inline]
    pub fn bytes_data_and_meter(&mut self, memory: Memory) -> (&mut [u8], &mut T, Meter<'_>) {
        let meter = self.free_meter();
        let (bytes, data) = self.bytes_and_data(memory);
        (bytes, data, meter)
    }

    /// The host's data, and what work is [charged](Meter::charge) to.
    #[inline]
    pub fn data_and_meter(&mut self) -> (&mut T, Meter<'_>) {
        let meter = self.free_meter();
        (self.data_mut(), meter)
    }

    /// A meter that borrows nothing but the time of the caller.
    fn free_meter(&self) -> Meter<'a> {
        // SAFETY: the context lives as long as the store, which is borrowed for `'a`; it changes by cells only and is no
        // part of a memory or of the data.
        Meter::new(unsafe { self.store.ctx_ptr().as_ref() })
    }
}

impl<T: 'static> Deref for Caller<'_, T> {
    type Target = AnyStore;

    fn deref(&self) -> &AnyStore {
        self.store
    }
}

impl<T: 'static> DerefMut for Caller<'_, T> {
    fn deref_mut(&mut self) -> &mut AnyStore {
        self.store
    }
}
