//! An interface of a pcapng section: its link type and how its clock counts.

use crate::record::ByteOrder;

const OPTION_END: u16 = 0;
const OPTION_TIME_RESOLUTION: u16 = 9;
const OPTION_TIME_OFFSET: u16 = 14;
/// The upper bit of a resolution: a negative power of 2, else of 10.
const POWER_OF_TWO: u8 = 0x80;
const NS_PER_S: i128 = 1_000_000_000;

/// What is kept of an interface description.
pub(crate) struct Interface {
    pub(crate) link_type: u16,
    /// Most bytes captured of a frame; 0 for no limit.
    pub(crate) snap_len: u32,
    /// Exponent of the length of a tick; see [`POWER_OF_TWO`].
    resolution: u8,
    offset_s: i64,
}

/// Why an interface description cannot be read.
pub(crate) enum OptionFault {
    /// It is shorter than its fixed fields.
    Short,
    /// An option has a length which cannot be.
    Length { code: u16, len: u16 },
}

impl Interface {
    pub(crate) fn parse(order: ByteOrder, body: &[u8]) -> Result<Self, OptionFault> {
        let mut options = body.get(8..).ok_or(OptionFault::Short)?;
        let mut interface = Self {
            link_type: order.u16(body, 0),
            snap_len: order.u32(body, 4),
            // Microseconds, unless an option says otherwise.
            resolution: 6,
            offset_s: 0,
        };
        while options.len() >= 4 {
            let (code, len) = (order.u16(options, 0), order.u16(options, 2));
            if code == OPTION_END {
                break;
            }
            let fault = OptionFault::Length { code, len };
            let Some(value) = options.get(4..4 + usize::from(len)) else { return Err(fault) };
            match (code, value) {
                (OPTION_TIME_RESOLUTION, &[resolution]) => interface.resolution = resolution,
                (OPTION_TIME_OFFSET, &[_, _, _, _, _, _, _, _]) => {
                    interface.offset_s = order.i64(value, 0);
                }
                (OPTION_TIME_RESOLUTION | OPTION_TIME_OFFSET, _) => return Err(fault),
                _ => {}
            }
            let padded = usize::from(len).next_multiple_of(4);
            options = options.get(4 + padded..).unwrap_or_default();
        }
        Ok(interface)
    }

    /// A time of this interface's clock in nanoseconds since 1970, rounded down; `None` where that
    /// does not fit.
    pub(crate) fn to_ns(&self, ticks: u64) -> Option<u64> {
        let exponent = u32::from(self.resolution & !POWER_OF_TWO);
        // Below 2^94, and divisors beyond the range of i128 make 0 of it.
        let scaled = i128::from(ticks) * NS_PER_S;
        let ns = if self.resolution & POWER_OF_TWO != 0 {
            scaled.checked_shr(exponent).unwrap_or(0)
        } else {
            10_i128.checked_pow(exponent).map_or(0, |per_second| scaled / per_second)
        };
        u64::try_from(ns + i128::from(self.offset_s) * NS_PER_S).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_of_all_resolutions_give_nanoseconds() {
        let ns = |resolution, offset_s, ticks| {
            Interface { link_type: 1, snap_len: 0, resolution, offset_s }.to_ns(ticks)
        };
        assert_eq!(ns(6, 0, 1_700_000_000_000_001), Some(1_700_000_000_000_001_000));
        assert_eq!(ns(9, 0, u64::MAX), Some(u64::MAX));
        assert_eq!(ns(12, 0, 1_999), Some(1));
        assert_eq!(ns(0, 0, 2), Some(2_000_000_000));
        assert_eq!(ns(0, 0, u64::MAX), None, "beyond the year 2554");
        assert_eq!(ns(0x80 | 10, 0, 512), Some(500_000_000));
        assert_eq!((ns(0x7f, 0, u64::MAX), ns(0xff, 0, u64::MAX)), (Some(0), Some(0)));
        assert_eq!(ns(9, -1, 1_000_000_001), Some(1));
        assert_eq!(ns(9, -2, 1_000_000_001), None, "before 1970");
        assert_eq!((ns(9, i64::MAX, 0), ns(9, i64::MIN, 0)), (None, None));
    }
}
