//! Lifting: `lift_flat_values`, and what it is made of.

use super::*;

/// The values of core parameters or results, one after the other.
trait Source {
    fn next(&mut self, want: FlatType) -> Core;
}

struct Given<'a>(std::slice::Iter<'a, Core>);

impl Source for Given<'_> {
    fn next(&mut self, want: FlatType) -> Core {
        let core = *self.0.next().expect("there are enough");
        assert_eq!(core.ty(), want);
        core
    }
}

/// Those of a variant's case, by what all cases are passed as.
struct Coerced<'a> {
    inner: &'a mut dyn Source,
    have: std::iter::Copied<std::slice::Iter<'a, FlatType>>,
}

impl Source for Coerced<'_> {
    fn next(&mut self, want: FlatType) -> Core {
        let have = self.have.next().expect("there are enough");
        self.inner.next(have).narrowed(want)
    }
}

impl Machine {
    /// `lift_flat_values`
    pub(crate) fn lift_values(
        &mut self,
        limit: usize,
        flat: &[Core],
        types: &[Ty],
    ) -> Lifted<Vec<Val>> {
        let mut given = Given(flat.iter());
        if flatten_all(types, self.address()).len() <= limit {
            return types
                .iter()
                .map(|ty| self.lift_flat(&mut given, ty))
                .collect();
        }
        let tuple = Ty::Tuple(types.to_vec());
        let at = given.next(pointer(self.address())).bits();
        trap_if(!at.is_multiple_of(alignment(&tuple, self.address()).into()))?;
        self.check(at, size(&tuple, self.address()))?;
        match self.load(at, &tuple)? {
            Val::Tuple(values) => Ok(values),
            other => panic!("{other} is no tuple"),
        }
    }

    fn load_int(&self, at: u64, bytes: u64) -> u64 {
        let at = at as usize;
        let bytes = &self.guest.memory[at..at + bytes as usize];
        bytes
            .iter()
            .rev()
            .fold(0, |number, &byte| number << 8 | u64::from(byte))
    }

    /// The pointer and the length at an address.
    fn load_pair(&self, at: u64) -> (u64, u64) {
        let size = self.pointer_size();
        (self.load_int(at, size), self.load_int(at + size, size))
    }

    fn load(&mut self, at: u64, ty: &Ty) -> Lifted<Val> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(Stop::Steps);
        }
        match despecialize(ty) {
            Plain::Record(fields) => {
                let (mut values, mut at) = (Vec::new(), at);
                for field in &fields {
                    at = align_to(at, alignment(field, self.address()));
                    values.push(self.load(at, field)?);
                    at += size(field, self.address());
                }
                Ok(of_fields(ty, values))
            }
            Plain::Variant(cases) => {
                let case = self.load_int(at, discriminant_size(cases.len()).into());
                trap_if(case >= cases.len() as u64)?;
                let payload = at + payload_offset(&cases, self.address());
                let value = cases[case as usize].as_ref();
                let value = value.map(|ty| self.load(payload, ty)).transpose()?;
                Ok(of_case(ty, case as usize, value))
            }
            Plain::Other(Ty::String) => {
                let (begin, length) = self.load_pair(at);
                self.load_string(begin, length)
            }
            Plain::Other(Ty::List(ty)) => {
                let (begin, length) = self.load_pair(at);
                Ok(Val::List(self.load_list(begin, length, ty)?))
            }
            Plain::Other(Ty::Map(key, value)) => {
                let (begin, length) = self.load_pair(at);
                self.load_list(begin, length, &pair(key, value)).map(map)
            }
            Plain::Other(Ty::FixedList(ty, length)) => {
                Ok(Val::List(self.load_elements(at, (*length).into(), ty)?))
            }
            Plain::Other(other) => {
                let number = self.load_int(at, size(other, self.address()));
                self.number(number, other)
            }
        }
    }

    /// What a number stands for, of which what is above its type is cut off.
    fn number(&mut self, number: u64, ty: &Ty) -> Lifted<Val> {
        Ok(match ty {
            Ty::Bool => Val::Bool(number != 0),
            Ty::S8 => Val::S8(number as i8),
            Ty::U8 => Val::U8(number as u8),
            Ty::S16 => Val::S16(number as i16),
            Ty::U16 => Val::U16(number as u16),
            Ty::S32 => Val::S32(number as i32),
            Ty::U32 => Val::U32(number as u32),
            Ty::S64 => Val::S64(number as i64),
            Ty::U64 => Val::U64(number),
            Ty::F32 => Val::F32(f32::from_bits(canonical32(number as u32))),
            Ty::F64 => Val::F64(f64::from_bits(canonical64(number))),
            Ty::Char => {
                trap_if(number >= 0x11_0000 || (0xd800..=0xdfff).contains(&number))?;
                Val::Char(char::from_u32(number as u32).expect("it is one"))
            }
            Ty::Flags(names) => {
                let set = (0..).zip(names).filter(|(bit, _)| number >> bit & 1 == 1);
                Val::Flags(set.map(|(_, name)| name.as_str().into()).collect())
            }
            _ => {
                let handle = self.guest.take(kind(ty), number as u32);
                let handle = handle.map_err(|_| Stop::Trap)?;
                match ty {
                    Ty::Stream(_) => Val::Stream(handle),
                    Ty::Future(_) => Val::Future(handle),
                    Ty::ErrorContext => Val::ErrorContext(handle),
                    _ => Val::Resource(handle),
                }
            }
        })
    }

    fn load_string(&self, begin: u64, tagged: u64) -> Lifted<Val> {
        let tag = 1 << (self.pointer_size() * 8 - 1);
        let is_latin1 = self.options.encoding == StringEncoding::Latin1OrUtf16 && tagged & tag == 0;
        let is_utf16 = !is_latin1 && self.options.encoding != StringEncoding::Utf8;
        let bytes = match self.options.encoding {
            StringEncoding::Latin1OrUtf16 if is_utf16 => u128::from(tagged ^ tag) * 2,
            StringEncoding::Utf16 => u128::from(tagged) * 2,
            _ => tagged.into(),
        };
        trap_if(bytes > MAX_BYTES.into())?;
        trap_if((is_latin1 || is_utf16) && !begin.is_multiple_of(2))?;
        self.check(begin, bytes as u64)?;
        let bytes = &self.guest.memory[begin as usize..begin as usize + bytes as usize];
        let string = match (is_latin1, is_utf16) {
            (true, _) => Some(bytes.iter().map(|&byte| byte as char).collect()),
            (_, true) => {
                let units = bytes
                    .chunks(2)
                    .map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
                String::from_utf16(&units.collect::<Vec<_>>()).ok()
            }
            _ => String::from_utf8(bytes.to_vec()).ok(),
        };
        string.map(Val::String).ok_or(Stop::Trap)
    }

    fn load_list(&mut self, begin: u64, length: u64, ty: &Ty) -> Lifted<Vec<Val>> {
        let bytes = u128::from(length) * u128::from(size(ty, self.address()));
        trap_if(bytes > MAX_BYTES.into())?;
        trap_if(!begin.is_multiple_of(alignment(ty, self.address()).into()))?;
        self.check(begin, bytes as u64)?;
        self.load_elements(begin, length, ty)
    }

    fn load_elements(&mut self, begin: u64, length: u64, ty: &Ty) -> Lifted<Vec<Val>> {
        let size = size(ty, self.address());
        (0..length)
            .map(|index| self.load(begin + index * size, ty))
            .collect()
    }

    fn lift_flat(&mut self, source: &mut dyn Source, ty: &Ty) -> Lifted<Val> {
        let flat = flatten(ty, self.address());
        match despecialize(ty) {
            Plain::Record(fields) => {
                let fields = fields.iter().map(|field| self.lift_flat(source, field));
                let fields = fields.collect::<Lifted<_>>()?;
                Ok(of_fields(ty, fields))
            }
            Plain::Variant(cases) => {
                let case = source.next(FlatType::I32).bits();
                trap_if(case >= cases.len() as u64)?;
                let mut coerced = Coerced {
                    inner: source,
                    have: flat[1..].iter().copied(),
                };
                let value = match &cases[case as usize] {
                    Some(ty) => Some(self.lift_flat(&mut coerced, ty)?),
                    None => None,
                };
                for have in coerced.have {
                    coerced.inner.next(have);
                }
                Ok(of_case(ty, case as usize, value))
            }
            Plain::Other(Ty::String | Ty::List(_) | Ty::Map(..)) => {
                let begin = source.next(pointer(self.address())).bits();
                let length = source.next(pointer(self.address())).bits();
                match ty {
                    Ty::String => self.load_string(begin, length),
                    Ty::List(ty) => Ok(Val::List(self.load_list(begin, length, ty)?)),
                    Ty::Map(key, value) => {
                        self.load_list(begin, length, &pair(key, value)).map(map)
                    }
                    other => panic!("{other:?}"),
                }
            }
            Plain::Other(Ty::FixedList(ty, length)) => {
                let values = (0..*length).map(|_| self.lift_flat(source, ty));
                Ok(Val::List(values.collect::<Lifted<_>>()?))
            }
            Plain::Other(other) => {
                let number = source.next(flat[0]).bits();
                self.number(number, other)
            }
        }
    }

    fn check(&self, at: u64, bytes: u64) -> Lifted<()> {
        let end = u128::from(at) + u128::from(bytes);
        trap_if(end > self.guest.memory.len() as u128)
    }
}

/// The value of a record or a tuple with these fields.
fn of_fields(ty: &Ty, values: Vec<Val>) -> Val {
    match ty {
        Ty::Record(fields) => {
            let names = fields.iter().map(|(name, _)| name.as_str().into());
            Val::Record(names.zip(values).collect())
        }
        _ => Val::Tuple(values),
    }
}

/// The value of a variant with this case.
fn of_case(ty: &Ty, case: usize, value: Option<Val>) -> Val {
    let value = value.map(Box::new);
    match ty {
        Ty::Variant(cases) => Val::Variant(cases[case].0.as_str().into(), value),
        Ty::Enum(names) => Val::Enum(names[case].as_str().into()),
        Ty::Option(_) => Val::Option(value),
        _ if case == 0 => Val::Result(Ok(value)),
        _ => Val::Result(Err(value)),
    }
}

fn map(pairs: Vec<Val>) -> Val {
    let pair = |pair| {
        let [key, value]: [Val; 2] = fields_of(&pair).try_into().expect("it is a pair");
        (key, value)
    };
    Val::Map(pairs.into_iter().map(pair).collect())
}
