//! What functions there are, and what they take and give: the table that the checker reads.
//!
//! The libraries are those that upstream enables at v1.37 for expressions in objects: CEL's own, optionals, strings
//! (version 2), sets, two-variable comprehensions, and Kubernetes' lists, regex, URLs, quantities, IP and CIDR, formats,
//! semantic versions and authorizer. What is not here is refused as an undeclared reference.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::types::{Shape, Type};

pub(crate) const URL: Type = Type::Opaque("kubernetes.URL");
pub(crate) const IP: Type = Type::Opaque("net.IP");
pub(crate) const CIDR: Type = Type::Opaque("net.CIDR");
pub(crate) const QUANTITY: Type = Type::Opaque("kubernetes.Quantity");
pub(crate) const SEMVER: Type = Type::Opaque("kubernetes.Semver");
pub(crate) const FORMAT: Type = Type::Opaque("kubernetes.NamedFormat");
/// The type of the variable `authorizer`.
pub const AUTHORIZER: Type = Type::Opaque("kubernetes.authorization.Authorizer");
pub(crate) const PATH_CHECK: Type = Type::Opaque("kubernetes.authorization.PathCheck");
pub(crate) const GROUP_CHECK: Type = Type::Opaque("kubernetes.authorization.GroupCheck");
/// The type of the variable `authorizer.requestResource`.
pub const RESOURCE_CHECK: Type = Type::Opaque("kubernetes.authorization.ResourceCheck");
pub(crate) const DECISION: Type = Type::Opaque("kubernetes.authorization.Decision");

/// One overload of a function.
#[derive(Debug)]
pub(crate) struct Overload {
    /// Called on its first argument.
    pub member: bool,
    /// Arguments, the target first; variables are numbered from 0.
    pub args: Vec<Shape>,
    pub result: Shape,
    /// How many variables there are.
    pub variables: usize,
}

/// `function(arguments) result` and `target : function(arguments) result`. One capital letter is any type; `#x` stands for each
/// of several types: `n`umbers, `o`rdered, `a`ddable.
const TABLE: &str = "
_?_:_(bool, A, A) A
_&&_(bool, bool) bool
_||_(bool, bool) bool
!_(bool) bool
-_(int) int
-_(double) double
_==_(A, A) bool
_!=_(A, A) bool
_<_(#o, #o) bool
_<=_(#o, #o) bool
_>_(#o, #o) bool
_>=_(#o, #o) bool
_<_(int, uint) bool
_<_(int, double) bool
_<_(uint, int) bool
_<_(uint, double) bool
_<_(double, int) bool
_<_(double, uint) bool
_<=_(int, uint) bool
_<=_(int, double) bool
_<=_(uint, int) bool
_<=_(uint, double) bool
_<=_(double, int) bool
_<=_(double, uint) bool
_>_(int, uint) bool
_>_(int, double) bool
_>_(uint, int) bool
_>_(uint, double) bool
_>_(double, int) bool
_>_(double, uint) bool
_>=_(int, uint) bool
_>=_(int, double) bool
_>=_(uint, int) bool
_>=_(uint, double) bool
_>=_(double, int) bool
_>=_(double, uint) bool
_+_(#n, #n) #n
_+_(string, string) string
_+_(bytes, bytes) bytes
_+_(list(A), list(A)) list(A)
_+_(duration, duration) duration
_+_(timestamp, duration) timestamp
_+_(duration, timestamp) timestamp
_-_(#n, #n) #n
_-_(duration, duration) duration
_-_(timestamp, duration) timestamp
_-_(timestamp, timestamp) duration
_*_(#n, #n) #n
_/_(#n, #n) #n
_%_(int, int) int
_%_(uint, uint) uint
@in(A, list(A)) bool
@in(A, map(A, B)) bool
_[_](list(A), int) A
_[_](map(A, B), A) B
_[_](optional(list(A)), int) optional(A)
_[_](optional(map(A, B)), A) optional(B)
_[?_](list(A), int) optional(A)
_[?_](map(A, B), A) optional(B)
_[?_](optional(list(A)), int) optional(A)
_[?_](optional(map(A, B)), A) optional(B)
size(string) int
size(bytes) int
size(list(A)) int
size(map(A, B)) int
string : size() int
bytes : size() int
list(A) : size() int
map(A, B) : size() int
type(A) type(A)
dyn(A) dyn
int(int) int
int(uint) int
int(double) int
int(string) int
int(timestamp) int
int(duration) int
uint(uint) uint
uint(int) uint
uint(double) uint
uint(string) uint
double(double) double
double(int) double
double(uint) double
double(string) double
bool(bool) bool
bool(string) bool
string(string) string
string(bool) string
string(int) string
string(uint) string
string(double) string
string(bytes) string
string(timestamp) string
string(duration) string
string(url) string
string(ip) string
string(cidr) string
bytes(bytes) bytes
bytes(string) bytes
timestamp(timestamp) timestamp
timestamp(string) timestamp
timestamp(int) timestamp
duration(duration) duration
duration(string) duration
duration(int) duration
string : contains(string) bool
string : startsWith(string) bool
string : endsWith(string) bool
string : matches(string) bool
matches(string, string) bool
timestamp : getFullYear() int
timestamp : getMonth() int
timestamp : getDayOfYear() int
timestamp : getDayOfMonth() int
timestamp : getDate() int
timestamp : getDayOfWeek() int
timestamp : getHours() int
timestamp : getMinutes() int
timestamp : getSeconds() int
timestamp : getMilliseconds() int
timestamp : getFullYear(string) int
timestamp : getMonth(string) int
timestamp : getDayOfYear(string) int
timestamp : getDayOfMonth(string) int
timestamp : getDate(string) int
timestamp : getDayOfWeek(string) int
timestamp : getHours(string) int
timestamp : getMinutes(string) int
timestamp : getSeconds(string) int
timestamp : getMilliseconds(string) int
duration : getHours() int
duration : getMinutes() int
duration : getSeconds() int
duration : getMilliseconds() int
optional.of(A) optional(A)
optional.ofNonZeroValue(A) optional(A)
optional.none() optional(A)
optional(A) : hasValue() bool
optional(A) : value() A
optional(A) : orValue(A) A
optional(A) : or(optional(A)) optional(A)
string : charAt(int) string
string : indexOf(string) int
string : indexOf(string, int) int
string : lastIndexOf(string) int
string : lastIndexOf(string, int) int
string : lowerAscii() string
string : upperAscii() string
string : replace(string, string) string
string : replace(string, string, int) string
string : split(string) list(string)
string : split(string, int) list(string)
string : substring(int) string
string : substring(int, int) string
string : trim() string
string : format(list(dyn)) string
list(string) : join() string
list(string) : join(string) string
strings.quote(string) string
sets.contains(list(A), list(A)) bool
sets.equivalent(list(A), list(A)) bool
sets.intersects(list(A), list(A)) bool
list(#o) : isSorted() bool
list(#a) : sum() #a
list(#o) : min() #o
list(#o) : max() #o
list(A) : indexOf(A) int
list(A) : lastIndexOf(A) int
string : find(string) string
string : findAll(string) list(string)
string : findAll(string, int) list(string)
url(string) url
isURL(string) bool
url : getScheme() string
url : getHost() string
url : getHostname() string
url : getPort() string
url : getEscapedPath() string
url : getQuery() map(string, list(string))
ip(string) ip
isIP(string) bool
ip.isCanonical(string) bool
ip : family() int
ip : isUnspecified() bool
ip : isLoopback() bool
ip : isLinkLocalMulticast() bool
ip : isLinkLocalUnicast() bool
ip : isGlobalUnicast() bool
cidr(string) cidr
isCIDR(string) bool
cidr : containsIP(string) bool
cidr : containsIP(ip) bool
cidr : containsCIDR(string) bool
cidr : containsCIDR(cidr) bool
cidr : ip() ip
cidr : masked() cidr
cidr : prefixLength() int
quantity(string) quantity
isQuantity(string) bool
quantity : sign() int
quantity : isInteger() bool
quantity : asInteger() int
quantity : asApproximateFloat() double
quantity : isGreaterThan(quantity) bool
quantity : isLessThan(quantity) bool
quantity : compareTo(quantity) int
quantity : add(quantity) quantity
quantity : add(int) quantity
quantity : sub(quantity) quantity
quantity : sub(int) quantity
semver(string) semver
semver(string, bool) semver
isSemver(string) bool
isSemver(string, bool) bool
semver : major() int
semver : minor() int
semver : patch() int
semver : isGreaterThan(semver) bool
semver : isLessThan(semver) bool
semver : compareTo(semver) int
format.named(string) optional(format)
format.dns1123Label() format
format.dns1123Subdomain() format
format.dns1035Label() format
format.qualifiedName() format
format.dns1123LabelPrefix() format
format.dns1123SubdomainPrefix() format
format.dns1035LabelPrefix() format
format.labelValue() format
format.uri() format
format.uuid() format
format.byte() format
format.date() format
format.datetime() format
format : validate(string) optional(list(string))
authorizer : path(string) pathcheck
authorizer : group(string) groupcheck
authorizer : serviceAccount(string, string) authorizer
pathcheck : check(string) decision
groupcheck : resource(string) resourcecheck
resourcecheck : subresource(string) resourcecheck
resourcecheck : namespace(string) resourcecheck
resourcecheck : name(string) resourcecheck
resourcecheck : fieldSelector(string) resourcecheck
resourcecheck : labelSelector(string) resourcecheck
resourcecheck : check(string) decision
decision : allowed() bool
decision : reason() string
decision : errored() bool
decision : error() string
jsonpatch.escapeKey(string) string
";

static FUNCTIONS: LazyLock<HashMap<&'static str, Vec<Overload>>> = LazyLock::new(|| {
    let mut functions: HashMap<_, Vec<_>> = HashMap::new();
    for line in TABLE.lines().filter(|line| !line.is_empty()) {
        let kinds: &[&str] = match line.find('#').map(|at| &line[at..at + 2]) {
            Some("#n") => &["int", "uint", "double"],
            Some("#o") => &["int", "uint", "double", "bool", "string", "bytes", "timestamp", "duration"],
            Some("#a") => &["int", "uint", "double", "duration"],
            _ => &[""],
        };
        for kind in kinds {
            let (name, overload) = overload(line, kind);
            functions.entry(name).or_default().push(overload);
        }
    }
    functions
});

/// The overloads of the function or method called `name`; empty when there is none.
pub(crate) fn overloads(name: &str) -> &'static [Overload] {
    FUNCTIONS.get(name).map_or(&[], Vec::as_slice)
}

fn overload(line: &'static str, kind: &str) -> (&'static str, Overload) {
    let (target, call) = match line.split_once(" : ") {
        Some((target, call)) => (Some(target), call),
        None => (None, line),
    };
    // Operators may have brackets in their names, but no parentheses.
    let open = call.find('(').unwrap_or(call.len());
    let mut reader = Reader { rest: call.get(open + 1..).unwrap_or(""), kind };
    let mut args = Vec::new();
    if let Some(target) = target {
        args.push(Reader { rest: target, kind }.ty());
    }
    while !reader.takes(")") && !reader.rest.is_empty() {
        args.push(reader.ty());
        reader.takes(",");
    }
    let result = reader.ty();
    // A and B are the only variables.
    let variables = if line.contains('B') { 2 } else { usize::from(line.contains('A')) };
    (&call[..open], Overload { member: target.is_some(), args, result, variables })
}

struct Reader<'t> {
    rest: &'t str,
    kind: &'t str,
}

impl Reader<'_> {
    fn takes(&mut self, text: &str) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn inner(&mut self) -> Shape {
        self.takes("(");
        let ty = self.ty();
        self.takes(")");
        ty
    }

    fn ty(&mut self) -> Shape {
        self.rest = self.rest.trim_start();
        let end = self.rest.find(|character: char| !character.is_ascii_alphanumeric() && character != '#');
        let word = &self.rest[..end.unwrap_or(self.rest.len())];
        self.rest = &self.rest[word.len()..];
        let word = if word.starts_with('#') { self.kind } else { word };
        let ty = match word {
            "A" => Type::Variable(0),
            "B" => Type::Variable(1),
            "bool" => Type::Bool,
            "int" => Type::Int,
            "uint" => Type::Uint,
            "double" => Type::Double,
            "string" => Type::String,
            "bytes" => Type::Bytes,
            "timestamp" => Type::Timestamp,
            "duration" => Type::Duration,
            "list" => Type::list(self.inner()),
            "optional" => Type::optional(self.inner()),
            "type" => Type::Type(Arc::new(self.inner().ty)),
            "map" => {
                self.takes("(");
                let key = self.ty();
                self.takes(",");
                let value = self.ty();
                self.takes(")");
                Type::map(key, value)
            }
            "url" => URL,
            "ip" => IP,
            "cidr" => CIDR,
            "quantity" => QUANTITY,
            "semver" => SEMVER,
            "format" => FORMAT,
            "authorizer" => AUTHORIZER,
            "pathcheck" => PATH_CHECK,
            "groupcheck" => GROUP_CHECK,
            "resourcecheck" => RESOURCE_CHECK,
            "decision" => DECISION,
            _ => Type::Dyn,
        };
        ty.into()
    }
}
