//! A procedural macro that links us: the constructor runs inside of rustc.

// Forked, rustc would have compiled this file twice, or hung: that it is here shows
// most. Expanded at compile time:
const SAID: &str = offshoot_procmacro::what_rustc_says!();

#[test]
fn the_compiler_is_left_alone() {
    assert!(SAID.starts_with("None: unsupported=true "), "{SAID}");
    assert!(SAID.contains("shared library"), "{SAID}");
}
