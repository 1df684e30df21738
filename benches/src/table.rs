//! The table.

use crate::case::{Against, Case};
use crate::round::Measured;

pub(crate) fn render(cases: &[Case], measured: &[Measured]) -> String {
    let mut text = String::new();
    let mut group = "";
    for (case, m) in cases.iter().zip(measured) {
        if case.group != group {
            group = case.group;
            text += &format!("\n{group}\n");
        }
        text += &format!("  {:<44} ", case.name);
        if let Some(error) = &m.failed {
            text += &format!("FAILED: {error}\n");
            continue;
        }
        if let Some(why) = &m.skipped {
            text += &format!("skipped: {why}\n");
            continue;
        }
        let time = m.median();
        text += &format!("{:>11} {:>9}/s", duration(time), rate(time));
        text += &comparison(case, m, cases, measured);
        if !case.goal.is_empty() {
            text += &format!("  (goal: {})", case.goal);
        }
        text += "\n";
    }
    text
}

fn comparison(case: &Case, m: &Measured, cases: &[Case], measured: &[Measured]) -> String {
    let Some(name) = case.against.name() else { return String::new() };
    let Some(with) = cases.iter().position(|c| c.name == name) else { return String::new() };
    let with = &measured[with];
    match case.against {
        Against::Nothing => String::new(),
        Against::Rate(_) => {
            format!("  {:>5.2} of the rate of {name}", m.compared(with, |a, b| b / a))
        }
        Against::Time(_) => format!("  {:>5.2} times {name}", m.compared(with, |a, b| a / b)),
        Against::Difference(_) => {
            let more = m.compared(with, |a, b| a - b);
            let sign = if more < 0.0 { '-' } else { '+' };
            format!("  {sign}{} on {name}", duration(more.abs()))
        }
    }
}

fn duration(nanos: f64) -> String {
    match nanos {
        n if n >= 1e8 => format!("{:.0} ms", n / 1e6),
        n if n >= 1e6 => format!("{:.2} ms", n / 1e6),
        n if n >= 1e3 => format!("{:.1} us", n / 1e3),
        n => format!("{n:.0} ns"),
    }
}

fn rate(nanos: f64) -> String {
    let digits = format!("{:.0}", 1e9 / nanos);
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
