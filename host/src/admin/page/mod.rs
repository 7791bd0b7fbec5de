//! The page: a shell without data, and screens that its script asks for with its token. All texts are escaped where they
//! are put in, because guests, publishers and tenants choose some of them.

pub(super) mod groups;
pub(super) mod letter;
pub(super) mod letters;
pub(super) mod overview;
mod parts;
pub(super) mod queue;
pub(super) mod receiver;
pub(super) mod receivers;
pub(super) mod tasks;
pub(super) mod tenants;

use axum::http::{HeaderName, header};
use axum::response::{Html, IntoResponse};
use maud::Markup;

use super::problem::Problem;

/// A screen, or an error.
type Screen = Result<Html<String>, Problem>;

fn screen(markup: Markup) -> Screen {
    Ok(Html(markup.into_string()))
}

/// How long a browser may keep the script and the style: not longer than the host that has them may run.
const KEPT: (HeaderName, &str) = (header::CACHE_CONTROL, "no-cache");

pub(super) async fn shell() -> Html<&'static str> {
    Html(include_str!("page.html"))
}

pub(super) async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8"), KEPT], include_str!("page.js"))
}

pub(super) async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8"), KEPT], include_str!("page.css"))
}

#[cfg(test)]
mod tests {
    const BYTES_MAX: usize = 250 << 10;

    #[test]
    fn the_page_is_small_and_fetches_nothing_from_elsewhere() {
        let all = [include_str!("page.html"), include_str!("page.js"), include_str!("page.css")];
        assert!(all.iter().map(|text| text.len()).sum::<usize>() < BYTES_MAX);
        for text in all {
            let text = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains("//cdn") && !text.contains("http://") && !text.contains("https://"), "{text}");
        }
    }

    #[test]
    fn the_page_has_no_script_or_style_of_its_own_and_puts_in_no_html() {
        let html = include_str!("page.html");
        assert!(!html.contains("<style") && !html.contains(" style="), "{html}");
        let words = html.split([' ', '\n', '<', '>']).filter(|word| word.starts_with("on") && word.contains('='));
        assert_eq!(words.collect::<Vec<_>>(), [] as [&str; 0]);
        assert_eq!(html.matches("<script").count(), 1);
        for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"] {
            assert!(!include_str!("page.js").contains(word), "{word}");
        }
    }
}
