//! A right 64-bit IDIV for a miscompiled emulator.
