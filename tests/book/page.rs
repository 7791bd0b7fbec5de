//! A page of the book, as the tests see it: its blocks in order, its headings and its links.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use wasmpost_tests::root;

/// How a comment begins that holds commands which readers need not see.
const HIDDEN: &str = "<!-- run\n";

/// A page.
pub(crate) struct Page {
    /// Its path from the root of the repository.
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) blocks: Vec<Block>,
    /// The anchors within it that links can lead to.
    pub(crate) anchors: Vec<String>,
    /// Where links and images lead, with their lines.
    pub(crate) links: Vec<(usize, String)>,
}

/// A block of code, or a hidden comment with commands, which is one of `sh`.
pub(crate) struct Block {
    pub(crate) line: usize,
    /// The first word behind the fence.
    pub(crate) language: String,
    /// All behind it.
    pub(crate) marks: String,
    pub(crate) text: String,
}

impl Block {
    /// Why it is not run, where it says so.
    pub(crate) fn ignored(&self) -> Option<&str> {
        self.marks.strip_prefix("ignore:").map(str::trim)
    }

    /// The program without which it cannot be run.
    pub(crate) fn needs(&self) -> Option<&str> {
        self.marks.strip_prefix("needs:").map(str::trim)
    }

    /// The file that it is, for later blocks.
    pub(crate) fn file(&self) -> Option<&str> {
        self.marks.split(' ').find_map(|mark| mark.strip_prefix("file="))
    }

    pub(crate) fn is_run(&self) -> bool {
        ["sh", "console"].contains(&&*self.language) && self.ignored().is_none()
    }
}

/// Every page that readers come to: those of the book, and those beside it.
pub(crate) fn pages() -> Vec<Page> {
    let mut paths: Vec<PathBuf> = markdown(&root().join("docs"));
    let beside = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "ARCHITECTURE.md", "CHANGELOG.md"];
    paths.extend(beside.iter().map(|name| root().join(name)));
    paths.iter().map(|path| Page::read(path)).collect()
}

fn markdown(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(markdown(&path));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    found.sort();
    found
}

impl Page {
    pub(crate) fn read(path: &Path) -> Self {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        Self::parse(name, std::fs::read_to_string(path).unwrap())
    }

    pub(crate) fn parse(name: String, text: String) -> Self {
        let mut page = Self { name, text: text.clone(), blocks: Vec::new(), anchors: Vec::new(), links: Vec::new() };
        let mut seen = BTreeMap::new();
        let mut block = None::<Block>;
        let mut heading = None::<String>;
        let mut comment = None::<(usize, String)>;
        for (event, place) in Parser::new_ext(&text, Options::ENABLE_TABLES).into_offset_iter() {
            let line = text[..place.start].matches('\n').count() + 1;
            match event {
                Event::Start(Tag::CodeBlock(kind)) => {
                    let info = match kind {
                        CodeBlockKind::Fenced(info) => info.to_string(),
                        CodeBlockKind::Indented => "text".to_owned(),
                    };
                    let (language, marks) = info.split_once(' ').unwrap_or((&info, ""));
                    let language = language.to_owned();
                    let marks = marks.to_owned();
                    block = Some(Block { line, language, marks, text: String::new() });
                }
                Event::End(TagEnd::CodeBlock) => page.blocks.extend(block.take()),
                Event::Start(Tag::HtmlBlock) => comment = Some((line, String::new())),
                Event::End(TagEnd::HtmlBlock) => page.blocks.extend(comment.take().and_then(hidden)),
                Event::Html(html) => comment.iter_mut().for_each(|(_, text)| text.push_str(&html)),
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let anchor = anchor(&heading.take().unwrap_or_default());
                    let before: &mut usize = seen.entry(anchor.clone()).or_default();
                    page.anchors.push(if *before == 0 { anchor } else { format!("{anchor}-{before}") });
                    *before += 1;
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push((line, dest_url.to_string()));
                }
                Event::Text(words) | Event::Code(words) => {
                    block.iter_mut().for_each(|block| block.text.push_str(&words));
                    heading.iter_mut().for_each(|heading| heading.push_str(&words));
                }
                _ => {}
            }
        }
        page
    }
}

/// The commands in a comment, where there are some.
fn hidden((line, html): (usize, String)) -> Option<Block> {
    let text = html.strip_prefix(HIDDEN)?.trim_end().strip_suffix("-->").unwrap().to_owned();
    Some(Block { line, language: "sh".into(), marks: String::new(), text })
}

/// The anchor of a heading, as mdBook and the usual forges make it.
pub(crate) fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.map(|letter| if letter == ' ' { '-' } else { letter.to_ascii_lowercase() }).collect()
}
