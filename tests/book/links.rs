//! Links lead somewhere, and every page is in the book.

use std::path::{Component, Path, PathBuf};

use wasmpost_tests::root;

use crate::page::Page;

/// Where files of the repository are for readers of the book.
const FILES: &str = "https://github.com/wasmpost/wasmpost/blob/main/";
const DIRECTORIES: &str = "https://github.com/wasmpost/wasmpost/tree/main/";

/// The faults of the links of a page.
pub(crate) fn faults(page: &Page, pages: &[Page]) -> Vec<String> {
    let fault = |(line, link): &(usize, String)| {
        fault(page, link, pages).map(|fault| format!("{}:{line}: {link}: {fault}", page.name))
    };
    page.links.iter().filter_map(fault).collect()
}

fn fault(page: &Page, link: &str, pages: &[Page]) -> Option<String> {
    if let Some(path) = link.strip_prefix(DIRECTORIES) {
        return (!root().join(path).is_dir()).then(|| "there is no such directory".to_owned());
    }
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let target = match path.strip_prefix(FILES) {
        Some(path) => PathBuf::from(path),
        None if path.contains("://") => return None,
        None if path.is_empty() => PathBuf::from(&page.name),
        None => resolved(Path::new(&page.name).parent().unwrap(), path),
    };
    if page.name.starts_with("docs/") && !path.contains("://") && !target.starts_with("docs") {
        return Some(format!("it leads out of the book: write {FILES}{}", target.display()));
    }
    if !root().join(&target).is_file() {
        return Some("there is no such file".to_owned());
    }
    let anchor = anchor?;
    let Some(found) = pages.iter().find(|page| Path::new(&page.name) == target) else {
        return Some("it leads into a file whose headings are not known".to_owned());
    };
    let known = found.anchors.join(", ");
    (!found.anchors.iter().any(|known| known == anchor)).then(|| format!("there is no such heading, only {known}"))
}

/// A path from a directory, without `..`.
fn resolved(directory: &Path, path: &str) -> PathBuf {
    let mut resolved = PathBuf::new();
    for part in directory.join(path).components() {
        match part {
            Component::ParentDir => drop(resolved.pop()),
            Component::CurDir => {}
            part => resolved.push(part),
        }
    }
    resolved
}

/// Pages of `docs/` that the summary does not name.
pub(crate) fn left_out(pages: &[Page]) -> Vec<String> {
    let summary = pages.iter().find(|page| page.name == "docs/SUMMARY.md").unwrap();
    let named = |page: &&Page| summary.links.iter().any(|(_, link)| page.name == format!("docs/{link}"));
    let in_book = pages.iter().filter(|page| page.name.starts_with("docs/") && page.name != summary.name);
    in_book.filter(|page| !named(page)).map(|page| page.name.clone()).collect()
}
