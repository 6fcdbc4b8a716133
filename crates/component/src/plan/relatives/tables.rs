//! Types with the handle tables that they had.
//!
//! A type that has resources in it names the table of each resource in its instance. What is converted anew gets new tables; here
//! it gets those of the first conversion, and so the number that the type had then, which adapters pass to the runtime.

use std::collections::HashMap;

use wasmtime_environ::component::{
    ComponentTypes, ComponentTypesBuilder, InterfaceType, ResourceIndex,
    RuntimeComponentInstanceIndex, TypeFuncIndex, TypeResourceTable, TypeResourceTableIndex,
    TypeTupleIndex,
};

pub(super) struct Tables {
    /// By the resource and the instance that has it.
    first: HashMap<(ResourceIndex, RuntimeComponentInstanceIndex), TypeResourceTableIndex>,
    /// What has been looked at.
    known: HashMap<InterfaceType, InterfaceType>,
}

impl Tables {
    /// The tables that there are now.
    pub(super) fn new(types: &mut ComponentTypesBuilder) -> Self {
        let mut first = HashMap::new();
        for index in 0..types.num_resource_tables() as u32 {
            let index = TypeResourceTableIndex::from_u32(index);
            if let TypeResourceTable::Concrete { ty, instance } = all(types)[index] {
                first.entry((ty, instance)).or_insert(index);
            }
        }
        Self {
            first,
            known: HashMap::new(),
        }
    }

    /// A function's type.
    pub(super) fn func(
        &mut self,
        types: &mut ComponentTypesBuilder,
        ty: TypeFuncIndex,
    ) -> TypeFuncIndex {
        let mut func = all(types)[ty].clone();
        func.params = self.tuple(types, func.params);
        func.results = self.tuple(types, func.results);
        types.add_func_type(func)
    }

    fn tuple(&mut self, types: &mut ComponentTypesBuilder, ty: TypeTupleIndex) -> TypeTupleIndex {
        let mut tuple = all(types)[ty].clone();
        for part in &mut tuple.types {
            *part = self.value(types, *part);
        }
        types.add_tuple_type(tuple)
    }

    /// A value's type. The validator bounds how deep they are nested.
    fn value(&mut self, types: &mut ComponentTypesBuilder, ty: InterfaceType) -> InterfaceType {
        if let Some(known) = self.known.get(&ty) {
            return *known;
        }
        let made = self.new_value(types, ty);
        self.known.insert(ty, made);
        made
    }

    fn optional(&mut self, types: &mut ComponentTypesBuilder, ty: &mut Option<InterfaceType>) {
        if let Some(ty) = ty {
            *ty = self.value(types, *ty);
        }
    }

    fn new_value(&mut self, types: &mut ComponentTypesBuilder, ty: InterfaceType) -> InterfaceType {
        match ty {
            InterfaceType::Own(table) => InterfaceType::Own(self.table(types, table)),
            InterfaceType::Borrow(table) => InterfaceType::Borrow(self.table(types, table)),
            InterfaceType::Record(index) => {
                let mut record = all(types)[index].clone();
                for field in &mut record.fields {
                    field.ty = self.value(types, field.ty);
                }
                InterfaceType::Record(types.add_record_type(record))
            }
            InterfaceType::Variant(index) => {
                let mut variant = all(types)[index].clone();
                for case in variant.cases.values_mut() {
                    self.optional(types, case);
                }
                InterfaceType::Variant(types.add_variant_type(variant))
            }
            InterfaceType::Tuple(index) => InterfaceType::Tuple(self.tuple(types, index)),
            InterfaceType::List(index) => {
                let mut list = all(types)[index].clone();
                list.element = self.value(types, list.element);
                InterfaceType::List(types.add_list_type(list))
            }
            InterfaceType::FixedLengthList(index) => {
                let mut list = all(types)[index].clone();
                list.element = self.value(types, list.element);
                InterfaceType::FixedLengthList(types.add_fixed_length_list_type(list))
            }
            InterfaceType::Map(index) => {
                let mut map = all(types)[index].clone();
                map.key = self.value(types, map.key);
                map.value = self.value(types, map.value);
                InterfaceType::Map(types.add_map_type(map))
            }
            InterfaceType::Option(index) => {
                let mut option = all(types)[index].clone();
                option.ty = self.value(types, option.ty);
                InterfaceType::Option(types.add_option_type(option))
            }
            InterfaceType::Result(index) => {
                let mut result = all(types)[index].clone();
                self.optional(types, &mut result.ok);
                self.optional(types, &mut result.err);
                InterfaceType::Result(types.add_result_type(result))
            }
            InterfaceType::Future(index) => {
                let mut table = all(types)[index].clone();
                let mut future = all(types)[table.ty].clone();
                self.optional(types, &mut future.payload);
                table.ty = types.add_future_type(future);
                InterfaceType::Future(types.add_future_table_type(table))
            }
            InterfaceType::Stream(index) => {
                let mut table = all(types)[index].clone();
                let mut stream = all(types)[table.ty].clone();
                self.optional(types, &mut stream.payload);
                table.ty = types.add_stream_type(stream);
                InterfaceType::Stream(types.add_stream_table_type(table))
            }
            // There are no others in these.
            other => other,
        }
    }

    fn table(
        &self,
        types: &mut ComponentTypesBuilder,
        table: TypeResourceTableIndex,
    ) -> TypeResourceTableIndex {
        let TypeResourceTable::Concrete { ty, instance } = all(types)[table] else {
            return table;
        };
        self.first.get(&(ty, instance)).copied().unwrap_or(table)
    }
}

fn all(types: &mut ComponentTypesBuilder) -> &ComponentTypes {
    types.resources_mut_and_types().1
}
