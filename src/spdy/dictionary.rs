//! The zlib dictionary that both ends of a SPDY/3 connection start from.
//!
//! It is part of the protocol (SPDY draft 3, section 2.6.10.1): words that are common in HTTP headers, each with its
//! length before it as in a header block, then text without lengths. A stream names it by its Adler-32, which a test
//! checks.

/// Words with lengths.
const WORDS: [&str; 65] = [
    "options",
    "head",
    "post",
    "put",
    "delete",
    "trace",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-base",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "method",
    "get",
    "status",
    "200 OK",
    "version",
    "HTTP/1.1",
    "url",
    "public",
    "set-cookie",
    "keep-alive",
    "origin",
];

/// Text without lengths.
const TEXT: &str = "\
100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Au\
thoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidd\
en404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr Ma\
y Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,imag\
e/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,publicpri\
vatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

/// The dictionary's length in bytes.
const LENGTH: usize = 1423;

/// The dictionary's bytes.
pub(crate) const DICTIONARY: [u8; LENGTH] = bytes();

const fn bytes() -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    let (mut at, mut word) = (0, 0);
    while word < WORDS.len() {
        let text = WORDS[word].as_bytes();
        // Every word is shorter than 256 bytes, so the first three bytes of its length are zero.
        bytes[at + 3] = text.len() as u8;
        at += 4;
        let mut index = 0;
        while index < text.len() {
            bytes[at] = text[index];
            (at, index) = (at + 1, index + 1);
        }
        word += 1;
    }
    let text = TEXT.as_bytes();
    let mut index = 0;
    while index < text.len() {
        bytes[at] = text[index];
        (at, index) = (at + 1, index + 1);
    }
    assert!(at == LENGTH);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_one_that_peers_name() {
        let (mut low, mut high) = (1_u32, 0_u32);
        for byte in DICTIONARY {
            low = (low + u32::from(byte)) % 65521;
            high = (high + low) % 65521;
        }
        // As it stands in the first bytes of every SPDY/3 header block: E3 C6 A7 C2.
        assert_eq!(high << 16 | low, 0xe3c6_a7c2);
    }
}
