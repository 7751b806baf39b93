//! The header of a Parquet page, as far as its sizes are concerned: a struct in Thrift's compact
//! protocol (github.com/apache/thrift, `doc/specs/thrift-compact-protocol.md`).

/// What a page says about its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct PageHeader {
    /// Bytes of the header itself.
    pub length: u64,
    /// Bytes of the page in the file.
    pub packed: u64,
    /// Bytes of the page when it is unpacked.
    pub unpacked: u64,
    /// The number of its values.
    pub values: u64,
}

/// Nested structs of a header: deeper ones are refused.
const DEPTH: usize = 8;

/// Parses the header that `bytes` start with; `None` if it is damaged or negative.
pub(super) fn parse(bytes: &[u8]) -> Option<PageHeader> {
    let mut reader = Compact { bytes, at: 0 };
    let mut header = PageHeader::default();
    let size = |value: i64| u64::try_from(value).ok();
    let mut last = 0;
    while let Some((field, kind)) = reader.field(&mut last)? {
        match (field, kind) {
            (2, INTEGER) => header.unpacked = size(reader.zigzag()?)?,
            (3, INTEGER) => header.packed = size(reader.zigzag()?)?,
            // The headers of a data page, a dictionary, a data page of version 2: the number of
            // values is the first field of each.
            (5 | 7 | 8, STRUCT) => {
                let mut last = 0;
                while let Some((field, kind)) = reader.field(&mut last)? {
                    match (field, kind) {
                        (1, INTEGER) => header.values = size(reader.zigzag()?)?,
                        _ => reader.skip(kind, DEPTH)?,
                    }
                }
            }
            _ => reader.skip(kind, DEPTH)?,
        }
    }
    header.length = reader.at as u64;
    Some(header)
}

/// The type of a 32-bit integer.
const INTEGER: u8 = 5;
const STRUCT: u8 = 12;

struct Compact<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Compact<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Some(value);
            }
        }
        None
    }

    fn zigzag(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The number and type of the next field of a struct; `Some(None)` at its end.
    fn field(&mut self, last: &mut i64) -> Option<Option<(i64, u8)>> {
        let byte = self.byte()?;
        if byte == 0 {
            return Some(None);
        }
        *last = match byte >> 4 {
            0 => self.zigzag()?,
            delta => last.checked_add(i64::from(delta))?,
        };
        Some(Some((*last, byte & 15)))
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            // Booleans have their value in the type.
            1 | 2 => {}
            3 => self.forward(1)?,
            4..=6 => drop(self.varint()?),
            7 => self.forward(8)?,
            8 => {
                let length = self.varint()?;
                self.forward(length)?;
            }
            9 | 10 => {
                let byte = self.byte()?;
                let count = if byte >> 4 == 15 { self.varint()? } else { u64::from(byte >> 4) };
                for _ in 0..count {
                    // In a list, a boolean is a byte.
                    let kind = if matches!(byte & 15, 1 | 2) { 3 } else { byte & 15 };
                    self.skip(kind, depth)?;
                }
            }
            STRUCT => {
                let mut last = 0;
                while let Some((_, kind)) = self.field(&mut last)? {
                    self.skip(kind, depth)?;
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn forward(&mut self, bytes: u64) -> Option<()> {
        self.at = self.at.checked_add(usize::try_from(bytes).ok()?)?;
        (self.at <= self.bytes.len()).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sizes_of_a_data_page_are_read() {
        // Type 0, unpacked 300, packed 20, checksum, header of a data page with 7 values.
        let statistics = [0x1c, 0x18, 2, b'a', b'b', 0x16, 0, 0];
        let header = [
            &[0x15, 0, 0x15, 0xd8, 4, 0x15, 40, 0x15, 2, 0x1c, 0x15, 14, 0x15, 0][..],
            &[0x15, 6, 0x15, 6],
            &statistics,
            &[0, 0],
        ]
        .concat();
        let parsed = parse(&[&header[..], b"rest"].concat()).unwrap();
        let length = header.len() as u64;
        assert_eq!(parsed, PageHeader { length, packed: 20, unpacked: 300, values: 7 });
        for length in 0..header.len() {
            assert_eq!(parse(&header[..length]), None, "{length}");
        }
        // A negative size, and a string longer than the file.
        assert_eq!(parse(&[0x25, 1, 0]), None);
        assert_eq!(parse(&[0xa8, 255, 255, 255, 255, 15, 0]), None);
    }
}
