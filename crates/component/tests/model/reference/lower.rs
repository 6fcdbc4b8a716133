//! Lowering: `lower_flat_values`, and what it is made of.

use super::*;

impl Machine {
    /// `lower_flat_values`
    pub(crate) fn lower_values(
        &mut self,
        limit: usize,
        values: &[Val],
        types: &[Ty],
        out: Option<u64>,
    ) -> Vec<Core> {
        if flatten_all(types, self.address()).len() <= limit {
            let all = types.iter().zip(values);
            return all
                .flat_map(|(ty, value)| self.lower_flat(value, ty))
                .collect();
        }
        let tuple = Ty::Tuple(types.to_vec());
        let (at, flat) = match out {
            Some(out) => (out, vec![]),
            None => {
                let align = alignment(&tuple, self.address());
                let at = self
                    .guest
                    .allocate(0, 0, align, size(&tuple, self.address()));
                (at, vec![Core::new(pointer(self.address()), at)])
            }
        };
        self.store(&Val::Tuple(values.to_vec()), &tuple, at);
        flat
    }

    fn store_int(&mut self, number: u64, at: u64, bytes: u64) {
        for index in 0..bytes {
            self.guest.memory[(at + index) as usize] = (number >> (8 * index)) as u8;
        }
    }

    fn store_pair(&mut self, (begin, length): (u64, u64), at: u64) {
        let size = self.pointer_size();
        self.store_int(begin, at, size);
        self.store_int(length, at + size, size);
    }

    fn store(&mut self, value: &Val, ty: &Ty, at: u64) {
        match despecialize(ty) {
            Plain::Record(fields) => {
                let mut at = at;
                for (field, value) in fields.iter().zip(fields_of(value)) {
                    at = align_to(at, alignment(field, self.address()));
                    self.store(&value, field, at);
                    at += size(field, self.address());
                }
            }
            Plain::Variant(cases) => {
                let (case, payload) = case_of(value, ty);
                self.store_int(case as u64, at, discriminant_size(cases.len()).into());
                let place = at + payload_offset(&cases, self.address());
                if let Some(ty) = &cases[case] {
                    self.store(&payload.expect("it has one"), ty, place);
                }
            }
            Plain::Other(Ty::FixedList(ty, _)) => {
                let Val::List(values) = value else {
                    panic!("{value}")
                };
                self.store_elements(values, ty, at);
            }
            Plain::Other(other @ (Ty::String | Ty::List(_) | Ty::Map(..))) => {
                let pair = self.store_range(value, other);
                self.store_pair(pair, at);
            }
            Plain::Other(other) => {
                let core = self.scalar(value, other);
                self.store_int(core.bits(), at, size(other, self.address()));
            }
        }
    }

    fn store_elements(&mut self, values: &[Val], ty: &Ty, begin: u64) {
        for (index, value) in (0..).zip(values) {
            self.store(value, ty, begin + index * size(ty, self.address()));
        }
    }

    /// What does not lie in place: its address and length.
    fn store_range(&mut self, value: &Val, ty: &Ty) -> (u64, u64) {
        let (values, element) = match (value, ty) {
            (Val::String(string), _) => return self.store_string(string),
            (Val::List(values), Ty::List(ty)) => (values.clone(), (**ty).clone()),
            (Val::Map(pairs), Ty::Map(key, element)) => {
                let pairs = pairs.iter().cloned();
                let pairs = pairs.map(|(key, value)| Val::Tuple(vec![key, value]));
                (pairs.collect(), pair(key, element))
            }
            _ => panic!("{value}"),
        };
        let bytes = values.len() as u64 * size(&element, self.address());
        let align = alignment(&element, self.address());
        let begin = self.guest.allocate(0, 0, align, bytes);
        self.store_elements(&values, &element, begin);
        (begin, values.len() as u64)
    }

    fn write(&mut self, bytes: &[u8], at: u64) {
        self.guest.memory[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
    }

    fn store_string(&mut self, string: &str) -> (u64, u64) {
        let length = string.len() as u64;
        let utf16: Vec<u8> = string.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let units = utf16.len() as u64 / 2;
        match self.options.encoding {
            StringEncoding::Utf8 => {
                let begin = self.guest.allocate(0, 0, 1, length);
                self.write(string.as_bytes(), begin);
                (begin, length)
            }
            StringEncoding::Utf16 => {
                let mut begin = self.guest.allocate(0, 0, 2, length * 2);
                self.write(&utf16, begin);
                if units < length {
                    begin = self.guest.allocate(begin, length * 2, 2, units * 2);
                }
                (begin, units)
            }
            StringEncoding::Latin1OrUtf16 => {
                let mut begin = self.guest.allocate(0, 0, 2, length);
                let mut written = 0;
                for char in string.chars() {
                    if (char as u32) < 256 {
                        self.guest.memory[(begin + written) as usize] = char as u8;
                        written += 1;
                        continue;
                    }
                    begin = self.guest.allocate(begin, length, 2, length * 2);
                    self.write(&utf16, begin);
                    if units < length {
                        begin = self.guest.allocate(begin, length * 2, 2, units * 2);
                    }
                    return (begin, units | 1 << (self.pointer_size() * 8 - 1));
                }
                if written < length {
                    begin = self.guest.allocate(begin, length, 2, written);
                }
                (begin, written)
            }
        }
    }

    fn lower_flat(&mut self, value: &Val, ty: &Ty) -> Vec<Core> {
        let flat = flatten(ty, self.address());
        match despecialize(ty) {
            Plain::Record(fields) => {
                let all = fields.iter().zip(fields_of(value));
                all.flat_map(|(ty, value)| self.lower_flat(&value, ty))
                    .collect()
            }
            Plain::Variant(cases) => {
                let (case, payload) = case_of(value, ty);
                let payload = match &cases[case] {
                    Some(ty) => self.lower_flat(&payload.expect("it has one"), ty),
                    None => vec![],
                };
                let mut all = vec![Core::I32(case as u32)];
                for (index, &want) in flat[1..].iter().enumerate() {
                    all.push(match payload.get(index) {
                        Some(core) => core.widened(want),
                        None => Core::new(want, 0),
                    });
                }
                all
            }
            Plain::Other(Ty::FixedList(ty, _)) => {
                let Val::List(values) = value else {
                    panic!("{value}")
                };
                values
                    .iter()
                    .flat_map(|value| self.lower_flat(value, ty))
                    .collect()
            }
            Plain::Other(other @ (Ty::String | Ty::List(_) | Ty::Map(..))) => {
                let (begin, length) = self.store_range(value, other);
                vec![Core::new(flat[0], begin), Core::new(flat[1], length)]
            }
            Plain::Other(other) => vec![self.scalar(value, other)],
        }
    }

    /// A value that is one core value.
    fn scalar(&mut self, value: &Val, ty: &Ty) -> Core {
        match *value {
            Val::Bool(value) => Core::I32(value.into()),
            Val::S8(value) => Core::I32(value as i32 as u32),
            Val::U8(value) => Core::I32(value.into()),
            Val::S16(value) => Core::I32(value as i32 as u32),
            Val::U16(value) => Core::I32(value.into()),
            Val::S32(value) => Core::I32(value as u32),
            Val::U32(value) => Core::I32(value),
            Val::S64(value) => Core::I64(value as u64),
            Val::U64(value) => Core::I64(value),
            Val::F32(value) => Core::F32(canonical32(value.to_bits())),
            Val::F64(value) => Core::F64(canonical64(value.to_bits())),
            Val::Char(value) => Core::I32(value as u32),
            Val::Flags(ref set) => {
                let Ty::Flags(names) = ty else {
                    panic!("{ty:?}")
                };
                let bits = (0..)
                    .zip(names)
                    .filter(|(_, name)| set.iter().any(|label| **label == ***name));
                Core::I32(bits.map(|(bit, _): (u32, _)| 1 << bit).sum())
            }
            Val::Resource(handle)
            | Val::Stream(handle)
            | Val::Future(handle)
            | Val::ErrorContext(handle) => Core::I32(self.guest.give(kind(ty), handle)),
            _ => panic!("{value}"),
        }
    }
}

fn case_of(value: &Val, ty: &Ty) -> (usize, Option<Val>) {
    let unboxed = |value: &Option<Box<Val>>| value.as_ref().map(|value| (**value).clone());
    match (value, ty) {
        (Val::Variant(label, value), Ty::Variant(cases)) => {
            let case = cases.iter().position(|(name, _)| **name == **label);
            (case.expect("there is one"), unboxed(value))
        }
        (Val::Enum(label), Ty::Enum(names)) => {
            let case = names.iter().position(|name| **name == **label);
            (case.expect("there is one"), None)
        }
        (Val::Option(value), _) => (value.is_some().into(), unboxed(value)),
        (Val::Result(Ok(value)), _) => (0, unboxed(value)),
        (Val::Result(Err(value)), _) => (1, unboxed(value)),
        _ => panic!("{value}"),
    }
}
