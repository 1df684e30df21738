//! Runs the program, whose macros name the library by another crate's path.

use offshoot_tests::output_of;

#[test]
fn a_program_of_edition_2021_without_a_dependency_on_the_library_itself() {
    let output = output_of(env!("CARGO_BIN_EXE_offshoot-secondhand"), &[]);
    assert_eq!(
        output.lines().collect::<Vec<_>>(),
        [
            "2 + 3 = 5, prepared 43",
            "MainCaught; prepared 42",
            // The crate in between is linked, so what it registers is there as well.
            "[\"add\", \"named by its library\", \"offshoot_downstream::text::hidden::add\", \
             \"offshoot_downstream::text::hidden::count\", \
             \"offshoot_downstream::text::letters\", \"offshoot_downstream::text::load\", \"offshoot_downstream::text::shout\", \
             \"offshoot_secondhand::prepare\", \"tell\"]",
        ]
    );
}
