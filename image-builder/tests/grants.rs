//! The workspace's charter with one grant less is refused, at the line of the task that needs it.

mod common;

use image_builder::Manifest;
use image_builder::problem::Kind;

fn refused_without(task: &str, grant: &str) {
    let text = common::example();
    let mut section = String::new();
    let mut removed = 0;
    let kept: Vec<&str> = text
        .lines()
        .filter(|line| {
            if line.starts_with('[') {
                section = (*line).to_owned();
            }
            let is_it = section == format!("[tasks.{task}.grants]") && line.starts_with(&format!("{grant} = "));
            removed += usize::from(is_it);
            !is_it
        })
        .collect();
    assert_eq!(removed, 1, "the charter grants `{grant}` to `{task}` in one line");
    let text = kept.join("\n");
    let (checked, report) =
        image_builder::check_with(Manifest { name: "system.toml", text: &text }, &common::in_memory());
    assert!(checked.is_none());
    let problem = report.problems().iter().find(|problem| problem.kind == Kind::NeedNotGranted);
    let problem = problem.unwrap_or_else(|| panic!("{report}"));
    assert!(problem.message.contains(&format!("`{task}`")) && problem.message.contains(&format!("`{grant}`")));
    let line = 1 + text[..problem.places[0].0.start].matches('\n').count();
    let expected = 1 + kept.iter().position(|line| *line == format!("[tasks.{task}]")).unwrap();
    assert_eq!(line, expected, "{report}");
    assert!(report.to_string().contains(&format!("system.toml:{line}:")), "{report}");
}

#[test]
fn the_driver_needs_its_registers() {
    refused_without("nvme", "registers");
}

#[test]
fn the_driver_needs_its_interrupts() {
    refused_without("nvme", "completion");
    refused_without("nvme", "admin");
}

#[test]
fn the_driver_needs_its_dma_memory() {
    refused_without("nvme", "data");
}

#[test]
fn every_other_grant_is_needed_too() {
    refused_without("block", "driver");
    refused_without("classify", "controller");
    refused_without("reader", "log");
}
