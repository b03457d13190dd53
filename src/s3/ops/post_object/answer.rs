//! What a form is answered: a status of its choice, or a page to go on to.

use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header};

use crate::{
    auth::form_field,
    s3::{
        ResponseBody,
        error::S3Result,
        operation::Reply,
        reply::{empty, full, set},
        xml::{XmlWriter, url_encode},
    },
};

/// A form whose object is written.
#[derive(Debug)]
pub struct Posted {
    pub(super) headers: HeaderMap,
    /// The object's address.
    pub(super) address: String,
    pub(super) bucket: String,
    pub(super) key: String,
    /// In quotes.
    pub(super) etag: String,
    pub(super) answer: Answer,
}

/// What the form asks to be answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// 204, 200: nothing.
    Bare(StatusCode),
    /// 201: a document.
    Created,
    /// 303: another page, which learns bucket, key and tag from its query.
    Redirect(String),
}

impl Answer {
    /// What the fields choose. A page that is no address on the web, and any other status, are ignored (S3
    /// reference, "POST Object").
    pub(super) fn chosen(fields: &[(String, String)]) -> Self {
        // The second name is the one of old.
        let page = form_field(fields, "success_action_redirect").or_else(|| form_field(fields, "redirect"));
        if let Some(page) = page.filter(|page| is_web_address(page)) {
            return Self::Redirect(page.to_owned());
        }
        match form_field(fields, "success_action_status").map(str::trim) {
            Some("200") => Self::Bare(StatusCode::OK),
            Some("201") => Self::Created,
            _ => Self::Bare(StatusCode::NO_CONTENT),
        }
    }
}

fn is_web_address(text: &str) -> bool {
    let uri = text.parse::<Uri>().ok();
    uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some())
}

/// A key as a path.
pub(super) fn encoded_path(key: &str) -> String {
    url_encode(key)
}

/// A text as the value of a query parameter.
fn encoded(text: &str) -> String {
    url_encode(text).replace('/', "%2F")
}

impl Posted {
    /// The page with what became of the form; a fragment stays last.
    fn page(&self, page: &str) -> String {
        let (page, fragment) = page.split_once('#').map_or((page, None), |(page, fragment)| (page, Some(fragment)));
        let mark = if page.contains('?') { '&' } else { '?' };
        let (bucket, key, etag) = (encoded(&self.bucket), encoded(&self.key), encoded(&self.etag));
        let mut page = format!("{page}{mark}bucket={bucket}&key={key}&etag={etag}");
        if let Some(fragment) = fragment {
            page.push('#');
            page.push_str(fragment);
        }
        page
    }

    fn document(&self) -> bytes::Bytes {
        let mut xml = XmlWriter::bare("PostResponse", &[], 512);
        xml.text("Location", &self.address).text("Bucket", &self.bucket).text("Key", &self.key);
        xml.text("ETag", &self.etag);
        xml.finish()
    }
}

impl Reply for Posted {
    fn render(self) -> S3Result<Response<ResponseBody>> {
        let (status, location, body) = match &self.answer {
            Answer::Redirect(page) => (StatusCode::SEE_OTHER, self.page(page), None),
            Answer::Created => (StatusCode::CREATED, self.address.clone(), Some(self.document())),
            Answer::Bare(status) => (*status, self.address.clone(), None),
        };
        let has_body = body.is_some();
        let mut response = Response::new(body.map_or_else(empty, full));
        *response.status_mut() = status;
        *response.headers_mut() = self.headers;
        let headers = response.headers_mut();
        set(headers, header::LOCATION, &location);
        if has_body {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        } else if status != StatusCode::NO_CONTENT {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(fields: &[(&str, &str)]) -> Answer {
        let fields: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Answer::chosen(&fields)
    }

    #[test]
    fn a_form_chooses_its_answer_and_nonsense_is_ignored() {
        let bare = Answer::Bare(StatusCode::NO_CONTENT);
        assert_eq!(chosen(&[]), bare);
        assert_eq!(chosen(&[("success_action_status", "404")]), bare);
        assert_eq!(chosen(&[("success_action_status", "200")]), Answer::Bare(StatusCode::OK));
        assert_eq!(chosen(&[("success_action_status", "201")]), Answer::Created);
        let page = "http://host/page?x=1#top";
        assert_eq!(chosen(&[("success_action_redirect", page)]), Answer::Redirect(page.to_owned()));
        assert_eq!(chosen(&[("redirect", page)]), Answer::Redirect(page.to_owned()));
        for bad in ["/page", "javascript:alert(1)", "http://", "", "host/page"] {
            assert_eq!(chosen(&[("success_action_redirect", bad)]), bare, "{bad}");
        }
    }

    #[test]
    fn a_page_learns_what_was_written() {
        let posted = Posted {
            headers: HeaderMap::new(),
            address: "http://host/b/a%20b".to_owned(),
            bucket: "b".to_owned(),
            key: "a b/&".to_owned(),
            etag: "\"0f\"".to_owned(),
            answer: Answer::Created,
        };
        let query = "bucket=b&key=a%20b%2F%26&etag=%220f%22";
        assert_eq!(posted.page("http://host/p"), format!("http://host/p?{query}"));
        assert_eq!(posted.page("http://host/p?x=1#top"), format!("http://host/p?x=1&{query}#top"));
        let document = String::from_utf8(posted.document().to_vec()).unwrap();
        assert!(document.contains("<Key>a b/&amp;</Key><ETag>&quot;0f&quot;</ETag>"), "{document}");
    }
}
