//! The functions of the libraries.

use serde_json::json;

use super::check;

#[test]
fn strings() {
    check(
        &json!({}),
        &[
            ("'abc'.contains('b') && 'abc'.startsWith('a') && 'abc'.endsWith('c')", "true"),
            ("'héllo'.charAt(1) + 'héllo'.charAt(5)", "\"é\""),
            ("'abc'.charAt(4)", "ERROR index out of range: 4"),
            ("['héllo'.indexOf('l'), 'hello'.indexOf('z'), 'hello'.indexOf('l', 3), 'a'.indexOf('', 1)]", "[2,-1,3,1]"),
            ("['hello'.lastIndexOf('l'), 'hello'.lastIndexOf('l', 2), 'héé'.lastIndexOf('é', 1)]", "[3,2,1]"),
            ("'aBÇ'.lowerAscii() + 'aBç'.upperAscii()", "\"abÇABç\""),
            ("'a-b-c'.replace('-', '+')", "\"a+b+c\""),
            ("'a-b-c'.replace('-', '+', 1) + 'ab'.replace('', '.')", "\"a+b-c.a.b.\""),
            ("'a,b,c'.split(',')", r#"["a","b","c"]"#),
            ("'a,b,c'.split(',', 2) + 'a'.split(',', 0) + 'ab'.split('')", r#"["a","b,c","a","b"]"#),
            ("'héllo'.substring(1) + 'héllo'.substring(1, 2)", "\"élloé\""),
            ("'abc'.substring(2, 1)", "ERROR invalid substring range. start: 2, end: 1"),
            ("'abc'.substring(4)", "ERROR index out of range: 4"),
            ("'  a b\\n'.trim()", "\"a b\""),
            ("['a', 'b'].join('-') + ['a', 'b'].join() + [''].join('x')", "\"a-bab\""),
            (r#"strings.quote("a\n\"b\"")"#, r#""\"a\\n\\\"b\\\"\"""#),
            ("'%s %d %s'.format([dyn('a'), 1, [dyn(1), 'x', true]])", r#""a 1 [1, x, true]""#),
            (
                "'%.2f %e %x %X %o %b %%'.format([dyn(1.005), 12345.678, 255, 'az', 8, 5])",
                "\"1.00 1.234568e+04 ff 617A 10 101 %\"",
            ),
            ("'%s'.format([{'b': 1, 'a': 2}])", r#""{a: 2, b: 1}""#),
            ("'%s'.format([])", "ERROR index 0 out of range"),
            ("'%d'.format(['a'])", "ERROR error during formatting"),
            ("'%s'.format([1, 2])", "ERROR too many arguments"),
        ],
    );
}

#[test]
fn lists_and_sets() {
    check(
        &json!({}),
        &[
            ("[1, 2, 2].isSorted() && !['b', 'a'].isSorted() && [].isSorted()", "true"),
            ("[1, 2, 3].sum() + [].sum()", "6"),
            ("[1.5, 2.0].sum()", "3.5"),
            ("[duration('1s'), duration('2s')].sum() == duration('3s')", "true"),
            ("[3, 1, 2].min() + [3, 1, 2].max()", "4"),
            ("[].min()", "ERROR min called on empty list"),
            ("['a', 'b', 'a'].indexOf('a') + ['a', 'b', 'a'].lastIndexOf('a') + [1].indexOf(2)", "1"),
            ("sets.contains([1, 2, 3], [3, 1]) && !sets.contains([1], [2])", "true"),
            ("sets.equivalent([1, 2, 2], [2, 1]) && !sets.equivalent([1], [1, 2])", "true"),
            ("sets.intersects([1, 2], [2, 3]) && !sets.intersects([1], [])", "true"),
        ],
    );
}

#[test]
fn conversions() {
    check(
        &json!({}),
        &[
            ("[int('42'), int(3.9), int(-3.9), int(5u), int(timestamp('1970-01-01T00:01:00Z'))]", "[42,3,-3,5,60]"),
            ("int('x')", "ERROR type conversion error from 'string' to 'int'"),
            ("int(1e30)", "ERROR integer overflow"),
            ("uint(-1)", "ERROR unsigned integer overflow"),
            ("[double('1.5'), double(2)]", "[1.5,2.0]"),
            (
                "string(1) + string(1.5) + string(true) + string(b'x') + string(1e30) + string(100.0)",
                "\"11.5truex1e+30100\"",
            ),
            ("string(duration('90s')) + string(timestamp('2020-01-01T00:00:00.5Z'))", "\"90s2020-01-01T00:00:00.5Z\""),
            ("string(b'\\xff')", "ERROR invalid UTF-8"),
            ("bool('true') && !bool('0')", "true"),
            ("bytes('abc') == b'abc'", "true"),
        ],
    );
}

#[test]
fn times() {
    check(
        &json!({}),
        &[
            ("timestamp('2020-01-02T03:04:05.678Z').getFullYear()", "2020"),
            ("timestamp('2020-01-02T03:04:05Z').getMonth()", "0"),
            ("timestamp('2020-01-02T03:04:05Z').getDayOfMonth()", "1"),
            ("timestamp('2020-01-02T03:04:05Z').getDate()", "2"),
            ("timestamp('2020-02-01T03:04:05Z').getDayOfYear()", "31"),
            ("timestamp('2020-01-05T03:04:05Z').getDayOfWeek()", "0"),
            ("timestamp('2020-01-02T03:04:05.678Z').getMilliseconds()", "678"),
            ("timestamp('2020-01-02T03:04:05Z').getHours('-04:00')", "23"),
            ("timestamp('2020-01-02T03:04:05+02:00') == timestamp('2020-01-02T01:04:05Z')", "true"),
            ("timestamp('2020-01-02T03:04:05Z') + duration('1h') > timestamp('2020-01-02T03:04:05Z')", "true"),
            ("timestamp('2020-01-02T03:04:05Z') - timestamp('2020-01-02T03:04:04Z') == duration('1s')", "true"),
            ("timestamp('9999-12-30T21:59:59Z') + duration('10h')", "ERROR timestamp overflow"),
            ("duration('1h30m').getMinutes() + duration('-1.5s').getMilliseconds()", "-1410"),
            (
                "[duration('1d')].size()",
                "REFUSED compilation failed: ERROR: <input>:1:11: invalid duration argument\n | [duration('1d')].size()\n | ..........^",
            ),
            ("duration('1' + 'x')", "ERROR time: invalid duration \"1x\""),
            ("duration('1' + 'us') == duration('1000ns')", "true"),
            ("duration('2562047h') + duration('2562047h')", "ERROR duration overflow"),
        ],
    );
}

#[test]
fn regular_expressions() {
    check(
        &json!({"x": "[a-"}),
        &[
            ("'abc'.matches('^[a-c]+$') && matches('abc', 'b')", "true"),
            (r"'a1b22'.find('[0-9]+') + 'abc'.find('[0-9]+')", "\"1\""),
            (r"'a1b22'.findAll('[0-9]+') + 'a1b22'.findAll('[0-9]+', 1)", r#"["1","22","1"]"#),
            ("'a'.matches(x)", "ERROR error parsing regexp: `[a-`"),
        ],
    );
}

#[test]
fn urls() {
    check(
        &json!({}),
        &[
            ("url('https://user:pw@example.com:80/a b?k=1&k=2&x=%20').getHost()", "\"example.com:80\""),
            (
                "url('https://example.com:80/').getHostname() + url('https://example.com:80/').getPort()",
                "\"example.com80\"",
            ),
            ("url('https://[::1]:80/').getHostname()", "\"::1\""),
            ("url('https://example.com/a b/c').getEscapedPath()", "\"/a%20b/c\""),
            ("url('https://e.com/?k=1&k=2&x=%20').getQuery()", r#"{"k":["1","2"],"x":[" "]}"#),
            ("url('/path').getScheme() + url('HTTP://a').getScheme()", "\"http\""),
            (
                "isURL('https://a') && isURL('/a') && !isURL('a/b') && !isURL('') && !isURL('../a') && !isURL('http://a b/')",
                "true",
            ),
            ("url('nothing')", "ERROR URL parse error"),
            ("url('https://a') == url('https://a')", "true"),
        ],
    );
}

#[test]
fn addresses() {
    check(
        &json!({}),
        &[
            ("ip('10.0.0.1').family() + ip('::1').family()", "10"),
            ("isIP('10.0.0.1') && !isIP('10.0.0.01') && !isIP('::ffff:1.2.3.4') && !isIP('fe80::1%en0')", "true"),
            ("ip.isCanonical('::1') && !ip.isCanonical('0:0::1')", "true"),
            (
                "ip('127.0.0.1').isLoopback() && ip('0.0.0.0').isUnspecified() && ip('169.254.1.1').isLinkLocalUnicast()",
                "true",
            ),
            (
                "ip('224.0.0.1').isLinkLocalMulticast() && ip('10.0.0.1').isGlobalUnicast() && !ip('224.1.1.1').isGlobalUnicast()",
                "true",
            ),
            ("ip('a')", "ERROR IP Address \"a\" parse error"),
            ("string(ip('2001:DB8::1'))", "\"2001:db8::1\""),
            ("cidr('10.0.0.0/8').containsIP('10.1.2.3') && !cidr('10.0.0.0/8').containsIP(ip('11.0.0.1'))", "true"),
            (
                "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && !cidr('10.1.0.0/16').containsCIDR(cidr('10.0.0.0/8'))",
                "true",
            ),
            ("cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8') && cidr('10.0.0.0/8').prefixLength() == 8", "true"),
            ("string(cidr('10.1.2.3/8').ip()) + string(cidr('::1/0').masked())", "\"10.1.2.3::/0\""),
            ("isCIDR('10.0.0.0/8') && !isCIDR('10.0.0.0/33') && !isCIDR('10.0.0.0/08') && !isCIDR('10.0.0.0')", "true"),
        ],
    );
}

#[test]
fn quantities() {
    check(
        &json!({}),
        &[
            ("quantity('1Gi') == quantity('1024Mi') && quantity('100m').isLessThan(quantity('1'))", "true"),
            ("quantity('1k').asInteger() + quantity('1').compareTo(quantity('2'))", "999"),
            ("quantity('500m').asApproximateFloat()", "0.5"),
            ("quantity('500m').asInteger()", "ERROR cannot convert value to integer"),
            ("quantity('1').add(quantity('2')).sub(1).isGreaterThan(quantity('1'))", "true"),
            ("isQuantity('1.5Gi') && !isQuantity('1.5 Gi') && quantity('-1').sign() == -1", "true"),
            ("quantity('x')", "ERROR "),
        ],
    );
}

#[test]
fn versions() {
    check(
        &json!({}),
        &[
            ("semver('1.2.3').major() + semver('1.2.3').minor() + semver('1.2.3').patch()", "6"),
            ("semver('1.0.0-rc.1').isLessThan(semver('1.0.0')) && semver('1.0.0+a') == semver('1.0.0+b')", "true"),
            ("isSemver('1.2.3') && !isSemver('1.2') && !isSemver('v1.2.3') && isSemver('v1.02', true)", "true"),
            ("semver('v1', true).compareTo(semver('1.0.0'))", "0"),
            ("semver('x')", "ERROR invalid semantic version"),
        ],
    );
}

#[test]
fn formats() {
    check(
        &json!({}),
        &[
            ("!format.dns1123Label().validate('my-name').hasValue()", "true"),
            ("format.dns1123Label().validate('My_Name').value().size()", "1"),
            (
                "!format.dns1123LabelPrefix().validate('my-').hasValue() && format.dns1123Label().validate('my-').hasValue()",
                "true",
            ),
            (
                "!format.qualifiedName().validate('a.b/C_d').hasValue() && format.qualifiedName().validate('/').hasValue()",
                "true",
            ),
            (
                "!format.labelValue().validate('').hasValue() && !format.dns1123Subdomain().validate('a.b').hasValue()",
                "true",
            ),
            (
                "format.dns1035Label().validate('1a').hasValue() && !format.uri().validate('https://a').hasValue()",
                "true",
            ),
            (
                "!format.uuid().validate('123e4567-e89b-12d3-a456-426614174000').hasValue() && format.uuid().validate('x').hasValue()",
                "true",
            ),
            (
                "!format.date().validate('2020-01-31').hasValue() && format.date().validate('2020-02-31').hasValue()",
                "true",
            ),
            ("!format.named('byte').value().validate('YQ==').hasValue() && !format.named('x').hasValue()", "true"),
            ("!format.datetime().validate('2020-01-31T00:00:00Z').hasValue()", "true"),
        ],
    );
}
