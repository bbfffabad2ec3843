//! Lists of processors, as taskset(1) takes them: `2,3`, `0-3,8`.

/// Numbers of processors, in the order in which they are used.
pub type Processors = Vec<usize>;

/// The largest number, so that no range takes much memory. Linux can be built for 8192 processors, and which
/// of them there are is checked elsewhere.
const LARGEST: usize = u16::MAX as usize;

/// Why a text is not a list of processors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a list of processors: give numbers or ranges, such as 2,3 or 0-3,8")]
pub struct ProcessorsError(String);

/// The text of an empty list: threads are not pinned.
pub const NOT_PINNED: &str = "any";

/// The processors of a list, or of [`NOT_PINNED`].
pub fn parse(text: &str) -> Result<Processors, ProcessorsError> {
    match text {
        NOT_PINNED => Ok(Processors::new()),
        list => parse_list(list),
    }
}

/// The processors of a list, as the kernel writes it, too.
pub fn parse_list(text: &str) -> Result<Processors, ProcessorsError> {
    let refused = || ProcessorsError(text.into());
    let number = |text: &str| match text.parse() {
        Ok(number @ 0..=LARGEST) => Ok(number),
        _ => Err(refused()),
    };
    let mut processors = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(refused());
        }
        processors.extend(first..=last);
    }
    Ok(processors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_numbers_and_ranges_in_its_own_order() {
        for (text, processors) in [
            ("any", &[][..]),
            ("2", &[2]),
            ("3,2,3", &[3, 2, 3]),
            ("0-1,3", &[0, 1, 3]),
            ("8,0-2", &[8, 0, 1, 2]),
            ("5-5", &[5]),
            ("0-3,8,10-11", &[0, 1, 2, 3, 8, 10, 11]),
        ] {
            assert_eq!(parse(text).unwrap(), processors, "{text}");
        }
        assert!(parse_list(NOT_PINNED).is_err(), "no list of the kernel");
    }

    #[test]
    fn what_is_not_a_list_is_refused_with_an_example() {
        for text in [
            "",
            "x",
            "any,1",
            "1,",
            ",1",
            "1-",
            "-1",
            "3-1",
            "0-1-2",
            "1 2",
            "0-99999999",
            "0-99999999999",
            "65536",
            "100000",
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(text) && error.contains("0-3,8"), "{error}");
        }
    }
}
