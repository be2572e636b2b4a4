// SPDX-License-Identifier: MIT OR Apache-2.0
//! The stack with which a program starts.
//!
//! As Linux has it: the number of arguments at RSP, their addresses and a zero, an empty environment, an empty
//! auxiliary vector; the strings above. RSP is a multiple of 16. (System V ABI, "Initial Stack and Register State")

const WORD: usize = 8;
/// Words beside the addresses of the arguments: their number, zero, environment, auxiliary vector.
const FIXED_WORDS: usize = 5;

/// Puts arguments on top of `stack`, whose end the program sees at the address `top` (a multiple of 16), and returns
/// the stack pointer, or `None` if they do not fit.
pub fn put_arguments<'a>(
    stack: &mut [u8],
    top: u64,
    arguments: impl Iterator<Item = &'a [u8]> + Clone,
) -> Option<u64> {
    let (mut count, mut strings_len) = (0, 0);
    for argument in arguments.clone() {
        count += 1;
        strings_len += argument.len() + 1;
    }
    let words_len = (FIXED_WORDS + count) * WORD;
    let used = (strings_len + words_len).next_multiple_of(16);
    let start = stack.len().checked_sub(used)?;
    let bottom = top.checked_sub(used as u64)?;
    let (words, strings) = stack[start..].split_at_mut(words_len);
    words.fill(0);
    strings.fill(0);

    let mut words = words.chunks_exact_mut(WORD);
    let mut put = |value: u64| {
        let word = words.next().expect("the words were counted");
        word.copy_from_slice(&value.to_le_bytes());
    };
    put(count as u64);
    let mut offset = 0;
    for argument in arguments {
        put(bottom + (words_len + offset) as u64);
        strings[offset..][..argument.len()].copy_from_slice(argument);
        offset += argument.len() + 1;
    }
    Some(bottom)
}

/// Returns the stack pointer with which a function begins that interrupts code whose stack pointer is `rsp`, as if it had been
/// called: below the 128 bytes that the code may use there (red zone). (System V ABI, "The Stack Frame")
pub const fn for_handler(rsp: u64) -> u64 {
    const RED_ZONE: u64 = 128;
    (rsp.wrapping_sub(RED_ZONE) & !0xf).wrapping_sub(WORD as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP: u64 = 0x1000_0000;

    fn word(stack: &[u8], address: u64) -> u64 {
        let offset = stack.len() - (TOP - address) as usize;
        u64::from_le_bytes(stack[offset..][..8].try_into().unwrap())
    }

    #[test]
    fn the_arguments_are_found_from_the_stack_pointer() {
        let mut stack = [0xaa; 256];
        let arguments = ["demo", "", "two"];
        let rsp = put_arguments(&mut stack, TOP, arguments.map(str::as_bytes).into_iter()).unwrap();
        assert_eq!(rsp % 16, 0);
        assert_eq!(word(&stack, rsp), 3);
        for (i, argument) in arguments.into_iter().enumerate() {
            let address = word(&stack, rsp + 8 * (i as u64 + 1));
            let offset = stack.len() - (TOP - address) as usize;
            assert_eq!(&stack[offset..][..argument.len()], argument.as_bytes());
            assert_eq!(stack[offset + argument.len()], 0);
        }
        // End of arguments, environment, auxiliary vector.
        for i in 4..8 {
            assert_eq!(word(&stack, rsp + 8 * i), 0);
        }
    }

    #[test]
    fn a_handler_spares_the_red_zone_and_is_aligned() {
        for rsp in TOP - 32..=TOP {
            let at_entry = for_handler(rsp);
            assert!(at_entry + 8 + 128 <= rsp && rsp < at_entry + 8 + 128 + 16);
            assert_eq!((at_entry + 8) % 16, 0);
        }
        // What a program has there is its own affair.
        for rsp in [0, 1, 128, 135, u64::MAX] {
            assert_eq!(for_handler(rsp) % 16, 8);
        }
    }

    #[test]
    fn arguments_that_do_not_fit_are_refused() {
        let put = |stack: &mut [u8], top, arguments: &[&str]| {
            put_arguments(stack, top, arguments.iter().map(|text| text.as_bytes()))
        };
        assert!(put(&mut [0; 32], TOP, &[""]).is_none());
        assert!(put(&mut [0; 64], TOP, &["0123456789abcdef"; 2]).is_none());
        assert!(put(&mut [0; 64], 32, &["a"]).is_none());
        assert!(put(&mut [0; 64], TOP, &["a"]).is_some());
    }
}
