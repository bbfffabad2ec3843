//! Lists of processors as the kernel writes them, such as `0-3,8,10-11`.

/// Far above the number of processors that Linux supports.
const MOST: usize = 1 << 16;

/// The numbers in a list; `None` if it is not one.
pub fn parse(list: &str) -> Option<Vec<usize>> {
    let mut numbers = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last >= MOST {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ranges_of_a_list_are_read() {
        assert_eq!(parse("0"), Some(vec![0]));
        assert_eq!(parse("0-3,8,10-11"), Some(vec![0, 1, 2, 3, 8, 10, 11]));
        for not_a_list in ["", "x", "1,", "0-", "0-99999999999"] {
            assert_eq!(parse(not_a_list), None, "{not_a_list}");
        }
    }
}
