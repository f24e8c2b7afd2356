//! Numbers as people write them: in settings, commands and recordings.

/// A number, decimal, or hexadecimal behind `0x`; `None` if the text is none, or one that `T` does not hold.
pub fn number<T: TryFrom<u64>>(text: &str) -> Option<T> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok()?,
        None => text.parse().ok()?,
    };
    T::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_decimal_or_hexadecimal_and_fit() {
        assert_eq!((number("80"), number("0x80"), number("0xff_")), (Some(80_u64), Some(128_u64), None::<u64>));
        assert_eq!((number::<u64>(""), number::<u64>("0x"), number::<u64>("-1")), (None, None, None));
        assert_eq!((number::<u8>("255"), number::<u8>("0x100")), (Some(255), None));
        assert_eq!(number::<u64>("18446744073709551616"), None);
    }
}
