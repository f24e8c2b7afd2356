//! Serial logs and recordings: anybody may hand them in.

use image_builder::problem::{Problems, Report};
use image_builder::{classify, explain, matching};

/// Reads a log for all that the image builder reads logs for.
pub fn read(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(lines) = classify::classify(&text) {
        // What it says can be read again, and says the same.
        let again = classify::classify(&lines.join("\n"));
        assert_eq!(again.ok(), Some(lines));
    }
    // An empty image is none: this far it gets, and tells what is wrong with the log first.
    assert!(explain::explain(&text, &[]).is_err());
    let problems = Problems::default();
    let functions = matching::recording(&text, &problems);
    let report = Report::new("recording", &text, problems.into_sorted());
    assert!(functions.is_empty() || report.errors() == 0 || text.contains("functions"));
    let _ = report.render(false);
}
