//! Amounts of money that add up exactly.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

/// Units in a dollar.
const DOLLAR: u64 = 1_000_000_000_000_000_000;
/// Units in a millionth of a dollar.
const MICRO: i128 = 1_000_000_000_000;
/// What every price is a multiple of, in units: 1e-13 dollars. The list needs no finer one, and whole percents of whole
/// percents of such a price are whole numbers of units.
const GRAIN: u64 = 100_000;

/// An amount in US dollars: a whole number of 1e-18 of them, which may be negative.
///
/// 170 billion billion dollars fit; sums stop there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usd(i128);

impl Usd {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From a number of 1e-18 dollars.
    pub const fn from_atto(atto: i128) -> Self {
        Self(atto)
    }

    /// The number of 1e-18 dollars.
    pub const fn atto(self) -> i128 {
        self.0
    }

    /// Millionths of a dollar, rounded to the nearest, halves away from zero.
    pub const fn micros(self) -> i128 {
        let half = if self.0 < 0 { -MICRO / 2 } else { MICRO / 2 };
        self.0.saturating_add(half) / MICRO
    }
}

impl Add for Usd {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Usd {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Usd {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// With six decimals, rounded: `0.001250`.
impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.micros();
        let sign = if micros < 0 { "-" } else { "" };
        let (whole, rest) = (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
        f.pad(&format!("{sign}{whole}.{rest:06}"))
    }
}

/// The price of one of something: at most 18 dollars, in units of 1e-18 dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Price(u64);

impl Price {
    /// Reads dollars per million, as tokens are priced: `2.5`.
    ///
    /// # Errors
    /// Says why it is none. It is never rounded.
    pub fn per_million(text: &str) -> Result<Self, &'static str> {
        Self::read(text, DOLLAR / 1_000_000)
    }

    /// Reads dollars per piece: `0.04`.
    ///
    /// # Errors
    /// As [`Price::per_million`].
    pub fn each(text: &str) -> Result<Self, &'static str> {
        Self::read(text, DOLLAR)
    }

    fn read(text: &str, scale: u64) -> Result<Self, &'static str> {
        const WHAT: &str = "a price is a number of dollars, such as 2.5";
        const FINE: &str =
            "the price has more decimals than can be counted: it must be a multiple of 1e-13 dollars";
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        if !digits(whole) || !digits(fraction) {
            return Err(WHAT);
        }
        let mut units = whole.parse::<u64>().ok().and_then(|whole| whole.checked_mul(scale));
        let mut place = scale;
        for digit in fraction.bytes().map(|byte| u64::from(byte - b'0')) {
            place /= 10;
            if place == 0 && digit != 0 {
                return Err(FINE);
            }
            units = units.and_then(|units| units.checked_add(digit * place));
        }
        match units {
            None => Err("the price is too high: one token or image costs at most 18 dollars"),
            Some(units) if units % GRAIN != 0 => Err(FINE),
            Some(units) => Ok(Self(units)),
        }
    }

    /// What so many cost; `None` beyond all bounds.
    pub fn times(self, count: u64) -> Option<i128> {
        i128::from(self.0).checked_mul(i128::from(count))
    }

    /// So many percent of it, exactly: a price is a multiple of 100 units.
    pub fn percent(self, percent: u8) -> Option<Self> {
        (self.0 / 100).checked_mul(percent.into()).map(Self)
    }

    pub fn is_zero(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_exact_or_refused() {
        let million = |text: &str| Price::per_million(text).map(|price| price.0);
        assert_eq!(million("2.5"), Ok(2_500_000_000_000));
        assert_eq!(million("0"), Ok(0));
        assert_eq!(million("0.0000001"), Ok(GRAIN));
        assert_eq!(million("0.00000010000000000000000000"), Ok(GRAIN));
        assert!(million("0.00000001").unwrap_err().contains("1e-13"));
        assert!(million("0.00000000000000000000001").unwrap_err().contains("1e-13"));
        for bad in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", " 1", "NaN", "\u{662}"] {
            assert!(million(bad).unwrap_err().starts_with("a price is"), "{bad:?}");
        }
        for high in ["18446745000000", "99999999999999999999"] {
            assert!(million(high).unwrap_err().contains("too high"), "{high}");
        }
        assert_eq!(Price::each("0.04").map(|price| price.0), Ok(40_000_000_000_000_000));
    }

    #[test]
    fn amounts_are_rounded_when_shown() {
        let shown = |atto| Usd::from_atto(atto).to_string();
        assert_eq!(shown(0), "0.000000");
        assert_eq!(shown(MICRO / 2 - 1), "0.000000");
        assert_eq!(shown(MICRO / 2), "0.000001");
        assert_eq!(shown(-MICRO / 2), "-0.000001");
        assert_eq!(shown(-MICRO / 2 + 1), "0.000000");
        assert_eq!(shown(12_345_678 * MICRO), "12.345678");
        assert_eq!(Usd::from_atto(i128::MAX) + Usd::from_atto(1), Usd::from_atto(i128::MAX));
        assert_eq!(format!("{:>10}", Usd::from_atto(MICRO)), "  0.000001");
    }
}
