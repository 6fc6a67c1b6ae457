//! A thin encoder for nftables over netlink: what our one table needs, no more.
//!
//! [`expr`] writes rules, [`Batch`] gathers changes that happen together or not at all, [`ruleset`] is our table.
//! Numbers are the kernel's (`include/uapi/linux/netfilter/nf_tables.h`), values are in network byte order but for
//! what the kernel compares in its own (groups, connection states, results of route look-ups).

pub(crate) mod expr;
pub(crate) mod ruleset;

use super::attr::{self, Attrs};
use super::netlink::{APPEND, CREATE, CREATE_NEW, Request, Talk, errno};
use crate::errno::OpError;
use expr::Rule;

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
const NFT_MSG_NEWTABLE: u16 = 0;
const NFT_MSG_GETTABLE: u16 = 1;
const NFT_MSG_DELTABLE: u16 = 2;
const NFT_MSG_NEWCHAIN: u16 = 3;
const NFT_MSG_GETCHAIN: u16 = 4;
const NFT_MSG_NEWRULE: u16 = 6;
const NFT_MSG_DELRULE: u16 = 8;
const NFT_MSG_NEWSET: u16 = 9;
const NFT_MSG_NEWSETELEM: u16 = 12;
const NFT_MSG_GETSETELEM: u16 = 13;
const NFT_MSG_DELSETELEM: u16 = 14;
/// The family of a table that sees IPv4 and IPv6.
const NFPROTO_INET: u8 = 1;
const NFPROTO_UNSPEC: u8 = 0;
const NFT_SET_MAP: u32 = 8;
/// An attribute says its length in 16 bits: longer lists of elements go into several messages.
const ELEMENTS_MAX: usize = 60_000;

/// `struct nfgenmsg`: family, version 0, resource id.
fn nfgenmsg(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

fn message(kind: u16, flags: u16, attrs: Attrs, op: &'static str, object: String) -> Request {
    Request { kind: (NFNL_SUBSYS_NFTABLES << 8) | kind, flags, payload: attrs.into_bytes(), op, object }
}

fn inet() -> Attrs {
    Attrs::after(&nfgenmsg(NFPROTO_INET, 0))
}

/// Where a chain hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hook {
    /// `filter` or `nat`.
    pub(crate) kind: &'static str,
    /// `NF_INET_PRE_ROUTING` is 0, `FORWARD` 2, `LOCAL_OUT` 3, `POST_ROUTING` 4.
    pub(crate) number: u32,
    /// Lower is earlier.
    pub(crate) priority: i32,
}

/// The form of a set, or of a map where it has data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SetForm {
    pub(crate) name: &'static str,
    /// Type number, as the `nft` program shows it, and length of a key.
    pub(crate) key: (u32, u32),
    /// The same of a map's data.
    pub(crate) data: Option<(u32, u32)>,
}

/// One element of a set or map, in the kernel's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) key: Vec<u8>,
    /// Empty in a set.
    pub(crate) data: Vec<u8>,
}

impl Element {
    fn attrs(&self, with_data: bool) -> Attrs {
        let attrs = Attrs::new().nest(1, &Attrs::new().bytes(1, &self.key));
        if with_data && !self.data.is_empty() { attrs.nest(2, &Attrs::new().bytes(1, &self.data)) } else { attrs }
    }
}

/// Changes of one table that happen together or not at all.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    table: &'a str,
    requests: Vec<Request>,
    sets: u32,
}

impl<'a> Batch<'a> {
    /// No changes yet.
    pub(crate) fn new(table: &'a str) -> Self {
        Self { table, requests: Vec::new(), sets: 0 }
    }

    fn push(&mut self, kind: u16, flags: u16, attrs: Attrs, op: &'static str, object: &str) {
        let object = if object.is_empty() { self.table.to_owned() } else { format!("{} {object}", self.table) };
        self.requests.push(message(kind, flags, attrs, op, object));
    }

    /// Adds the table; one that is there stays as it is.
    pub(crate) fn add_table(&mut self) {
        let attrs = inet().text(1, self.table).be32(2, 0);
        self.push(NFT_MSG_NEWTABLE, CREATE, attrs, "add nftables table", "");
    }

    /// Deletes the table and all in it.
    pub(crate) fn delete_table(&mut self) {
        self.push(NFT_MSG_DELTABLE, 0, inet().text(1, self.table), "delete nftables table", "");
    }

    /// Adds a chain at a hook; one that is there stays as it is.
    pub(crate) fn add_chain(&mut self, name: &str, hook: Hook) {
        let at = Attrs::new().be32(1, hook.number).be32(2, hook.priority as u32);
        let attrs = inet().text(1, self.table).text(3, name).nest(4, &at).text(7, hook.kind);
        self.push(NFT_MSG_NEWCHAIN, CREATE, attrs, "add nftables chain", name);
    }

    /// Deletes every rule of the table.
    pub(crate) fn delete_rules(&mut self) {
        self.push(NFT_MSG_DELRULE, 0, inet().text(1, self.table), "delete rules of nftables table", "");
    }

    /// Adds a set or map; one of the same form that is there keeps its elements.
    pub(crate) fn add_set(&mut self, form: SetForm) {
        self.sets += 1;
        let flags = if form.data.is_some() { NFT_SET_MAP } else { 0 };
        let mut attrs = inet().text(1, self.table).text(2, form.name).be32(3, flags);
        attrs = attrs.be32(4, form.key.0).be32(5, form.key.1);
        if let Some((kind, length)) = form.data {
            attrs = attrs.be32(6, kind).be32(7, length);
        }
        // An id by which later messages of the batch could name the set; the kernel insists on one.
        attrs = attrs.be32(10, self.sets);
        self.push(NFT_MSG_NEWSET, CREATE, attrs, "add nftables set", form.name);
    }

    /// Adds a rule at the end of a chain.
    pub(crate) fn add_rule(&mut self, chain: &str, rule: &Rule) {
        let attrs = inet().text(1, self.table).text(2, chain).nest(4, rule.expressions());
        self.push(NFT_MSG_NEWRULE, CREATE | APPEND, attrs, "add rule to nftables chain", chain);
    }

    /// Adds elements to a set or map. Of elements that are there, those with the same data stay; others are an error.
    pub(crate) fn add_elements(&mut self, set: &str, elements: &[Element]) {
        self.each_list(set, elements, true, |batch, attrs| {
            batch.push(NFT_MSG_NEWSETELEM, CREATE, attrs, "add elements to nftables set", set);
        });
    }

    /// Adds elements, none of which may be there.
    pub(crate) fn add_new_elements(&mut self, set: &str, elements: &[Element]) {
        self.each_list(set, elements, true, |batch, attrs| {
            batch.push(NFT_MSG_NEWSETELEM, CREATE_NEW, attrs, "add elements to nftables set", set);
        });
    }

    /// Deletes elements, all of which must be there.
    pub(crate) fn delete_elements(&mut self, set: &str, elements: &[Element]) {
        self.each_list(set, elements, false, |batch, attrs| {
            batch.push(NFT_MSG_DELSETELEM, 0, attrs, "delete elements of nftables set", set);
        });
    }

    fn each_list(&mut self, set: &str, elements: &[Element], data: bool, mut push: impl FnMut(&mut Self, Attrs)) {
        let mut rest = elements.iter().peekable();
        while rest.peek().is_some() {
            let mut list = Attrs::new();
            while let Some(element) = rest.next_if(|_| list.len() < ELEMENTS_MAX) {
                list = list.nest(1, &element.attrs(data));
            }
            push(self, inet().text(1, self.table).text(2, set).nest(3, &list));
        }
    }

    /// The messages as they go over the wire, for tests.
    #[cfg(test)]
    pub(crate) fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// Carries the changes out.
    pub(crate) fn commit(self, talk: &mut Talk) -> Result<(), OpError> {
        let edge = |kind| Request {
            kind,
            flags: 0,
            payload: nfgenmsg(NFPROTO_UNSPEC, NFNL_SUBSYS_NFTABLES).to_vec(),
            op: "change nftables table",
            object: self.table.to_owned(),
        };
        talk.batch(&edge(NFNL_MSG_BATCH_BEGIN), &self.requests, &edge(NFNL_MSG_BATCH_END))
    }
}

/// Whether the table exists.
pub(crate) fn table_exists(talk: &mut Talk, table: &str) -> Result<bool, OpError> {
    let request = message(NFT_MSG_GETTABLE, 0, inet().text(1, table), "look up nftables table", table.to_owned());
    match talk.get(&request, |_, _| ()) {
        Ok(()) => Ok(true),
        Err(e) if errno(&e) == Some(libc::ENOENT) => Ok(false),
        Err(e) => Err(e),
    }
}

/// The element of a map with that key; `None` where there is none, or no such map or table.
pub(crate) fn element(talk: &mut Talk, table: &str, set: &str, key: &[u8]) -> Result<Option<Element>, OpError> {
    let wanted = Element { key: key.to_vec(), data: Vec::new() };
    let list = Attrs::new().nest(1, &wanted.attrs(false));
    let attrs = inet().text(1, table).text(2, set).nest(3, &list);
    let request = message(NFT_MSG_GETSETELEM, 0, attrs, "look up element of nftables set", format!("{table} {set}"));
    let mut found = None;
    match talk.get(&request, |_, payload| found = elements_in(payload).next().or(found.take())) {
        Ok(()) => Ok(found),
        Err(e) if errno(&e) == Some(libc::ENOENT) => Ok(None),
        Err(e) => Err(e),
    }
}

/// All elements of a set or map; none where there is no such set or table.
pub(crate) fn elements(talk: &mut Talk, table: &str, set: &str) -> Result<Vec<Element>, OpError> {
    let attrs = inet().text(1, table).text(2, set);
    let request = message(NFT_MSG_GETSETELEM, 0, attrs, "list elements of nftables set", format!("{table} {set}"));
    let mut found = Vec::new();
    match talk.dump(&request, |_, payload| found.extend(elements_in(payload))) {
        Ok(()) => Ok(found),
        Err(e) if errno(&e) == Some(libc::ENOENT) => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

/// The elements in the payload of an answer.
fn elements_in(payload: &[u8]) -> impl Iterator<Item = Element> + '_ {
    let list = payload.get(4..).and_then(|attrs| attr::find(attrs, 3)).map_or(&[][..], |a| a.value);
    attr::attributes(list).filter_map(|element| {
        let value = |kind| Some(attr::find(attr::find(element.value, kind)?.value, 1)?.value.to_vec());
        Some(Element { key: value(1)?, data: value(2).unwrap_or_default() })
    })
}

/// A chain of anybody's that drops forwarded packets no rule of its accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DroppingChain {
    pub(crate) table: String,
    pub(crate) chain: String,
}

/// Chains at the forward hook with policy drop, in every family.
pub(crate) fn forward_drops(talk: &mut Talk) -> Result<Vec<DroppingChain>, OpError> {
    let attrs = Attrs::after(&nfgenmsg(NFPROTO_UNSPEC, 0));
    let request = message(NFT_MSG_GETCHAIN, 0, attrs, "list nftables chains of", "this namespace".to_owned());
    let mut found = Vec::new();
    talk.dump(&request, |_, payload| found.extend(dropping_forward_chain(payload)))?;
    Ok(found)
}

fn dropping_forward_chain(payload: &[u8]) -> Option<DroppingChain> {
    let attrs = payload.get(4..)?;
    let hook = attr::find(attrs, 4)?;
    let forward = attr::find(hook.value, 1)?.value == 2u32.to_be_bytes();
    let drop = attr::find(attrs, 5)?.value == 0u32.to_be_bytes();
    // Bridge and device families have other hooks by the same numbers.
    let ip = matches!(payload.first(), Some(1 | 2 | 10));
    let text = |kind| Some(attr::find(attrs, kind)?.text()?.to_owned());
    (forward && drop && ip).then_some(DroppingChain { table: text(1)?, chain: text(3)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The payload of the only message of a batch, four bytes a word.
    fn words(make: impl FnOnce(&mut Batch<'_>)) -> String {
        let mut batch = Batch::new("t");
        make(&mut batch);
        let [request] = batch.requests() else { panic!("one message") };
        let words = request.payload.chunks(4).map(|w| w.iter().map(|b| format!("{b:02x}")).collect::<String>());
        words.collect::<Vec<_>>().join(" ")
    }

    // The bytes below are what the kernel took and the `nft` program showed as the table in tests/net/table.nft.
    // Little-endian machines only: lengths and types are in the machine's order.

    #[test]
    fn a_chain_is_these_bytes() {
        let hook = Hook { kind: "nat", number: 3, priority: -100 };
        assert_eq!(
            words(|b| b.add_chain("output", hook)),
            "01000000 06000100 74000000 0b000300 6f757470 75740000 \
             14000480 08000100 00000003 08000200 ffffff9c 08000700 6e617400"
        );
    }

    #[test]
    fn a_map_is_these_bytes() {
        let form = SetForm { name: "m", key: (781, 8), data: Some((461, 8)) };
        assert_eq!(
            words(|b| b.add_set(form)),
            "01000000 06000100 74000000 06000200 6d000000 08000300 00000008 08000400 0000030d \
             08000500 00000008 08000600 000001cd 08000700 00000008 08000a00 00000001"
        );
    }

    #[test]
    fn an_element_is_these_bytes() {
        let element = Element { key: vec![6, 0, 0, 0, 0x1f, 0x90, 0, 0], data: vec![172, 30, 0, 2, 0, 80, 0, 0] };
        assert_eq!(
            words(|b| b.add_new_elements("m", &[element])),
            "01000000 06000100 74000000 06000200 6d000000 28000380 24000180 \
             10000180 0c000100 06000000 1f900000 10000280 0c000100 ac1e0002 00500000"
        );
    }

    #[test]
    fn a_rule_is_these_bytes() {
        let rule = Rule::new().family(expr::Ip::V6).drop();
        assert_eq!(
            words(|b| b.add_rule("c", &rule)),
            "01000000 06000100 74000000 06000200 63000000 84000480 \
             24000180 09000100 6d657461 00000000 14000280 08000100 00000008 08000200 0000000f \
             2c000180 08000100 636d7000 20000280 08000100 00000008 08000200 00000000 0c000380 05000100 0a000000 \
             30000180 0e000100 696d6d65 64696174 65000000 1c000280 08000100 00000000 \
             10000280 0c000280 08000100 00000000"
        );
    }

    #[test]
    fn a_published_port_is_looked_up_and_translated_by_these_bytes() {
        let rule = Rule::new().dnat_by(expr::Ip::V4, "publish4");
        assert_eq!(
            words(|b| b.add_rule("c", &rule)),
            "01000000 06000100 74000000 06000200 63000000 c0000480 24000180 09000100 6d657461 \
             00000000 14000280 08000100 00000008 08000200 00000010 34000180 0c000100 7061796c \
             6f616400 24000280 08000100 00000009 08000200 00000002 08000300 00000002 08000400 \
             00000002 34000180 0b000100 6c6f6f6b 75700000 24000280 0d000100 7075626c 69736834 \
             00000000 08000200 00000008 08000300 00000008 30000180 08000100 6e617400 24000280 \
             08000100 00000001 08000200 00000002 08000300 00000008 08000500 00000009"
        );
    }

    #[test]
    fn an_element_is_read_back_from_its_own_message() {
        let mut batch = Batch::new("t");
        let element = Element { key: vec![6, 0, 0, 0, 0x1f, 0x90, 0, 0], data: vec![1, 2, 3, 4, 0, 80, 0, 0] };
        batch.add_new_elements("m", std::slice::from_ref(&element));
        assert_eq!(elements_in(&batch.requests()[0].payload).collect::<Vec<_>>(), [element]);
    }

    #[test]
    fn a_long_list_of_elements_goes_into_several_messages_and_none_is_lost() {
        let elements: Vec<_> =
            (0..5000u32).map(|n| Element { key: n.to_be_bytes().to_vec(), data: vec![0; 20] }).collect();
        let mut batch = Batch::new("t");
        batch.add_elements("m", &elements);
        assert!(batch.requests().len() > 1);
        let read: Vec<_> = batch.requests().iter().flat_map(|r| elements_in(&r.payload).collect::<Vec<_>>()).collect();
        assert_eq!(read, elements);
    }

    proptest::proptest! {
        #[test]
        fn foreign_answers_never_panic(bytes: Vec<u8>) {
            let _ = elements_in(&bytes).count();
            let _ = dropping_forward_chain(&bytes);
        }
    }
}
