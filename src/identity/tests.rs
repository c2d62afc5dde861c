//! Certificates tried on real connections: who gets in where, and who does not.

use crate::handshake::{accept, accept_within, connect};
use crate::{Authority, Caller, Credential, Error, KeyRequest, ReloadableCert, Token, Trust, names, tls};
use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn authority() -> Authority {
    Authority::generate("test").unwrap()
}

fn reloadable(credential: Credential) -> Arc<ReloadableCert> {
    ReloadableCert::new(credential).unwrap()
}

fn node(authority: &Authority, name: &str) -> Credential {
    let key = KeyRequest::generate("whatever").unwrap();
    let certificate = authority.node_client(key.request_pem(), name).unwrap();
    key.complete(certificate).unwrap()
}

fn agent(authority: &Authority, name: &str) -> Credential {
    let key = KeyRequest::generate("whatever").unwrap();
    let certificate = authority.agent_serving(key.request_pem(), name).unwrap();
    key.complete(certificate).unwrap()
}

/// Connects over loopback and exchanges a byte: in TLS 1.3 a client learns only by reading that the
/// server refused it. Returns the caller as the server saw it.
async fn meet(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    name: ServerName<'static>,
) -> Result<Caller, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = server.clone();
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (mut stream, caller) = accept(server, stream).await?;
        stream.write_all(b"!").await.map_err(Error::Handshake)?;
        stream.shutdown().await.map_err(Error::Handshake)?;
        Ok::<Caller, Error>(caller)
    });
    let stream = TcpStream::connect(address).await.unwrap();
    let mut stream = connect(client.clone(), name, stream, Duration::from_secs(5)).await?;
    stream.read_u8().await.map_err(Error::Handshake)?;
    serving.await.unwrap()
}

fn anywhere() -> ServerName<'static> {
    names::host_server_name("127.0.0.1").unwrap()
}

#[tokio::test]
async fn masters_meet_on_the_peer_port_and_know_each_other() {
    let authority = authority();
    let peers = authority.peers().unwrap();
    let first = reloadable(authority.master_peer(1).unwrap());
    let second = reloadable(authority.master_peer(2).unwrap());
    let server = tls::peer_server(&peers, first).unwrap();
    let client = tls::peer_client(&peers, second).unwrap();
    let caller = meet(&server, &client, names::peer_server_name(1)).await.unwrap();
    assert_eq!(caller.master(), Some(2));
    let mistaken = meet(&server, &client, names::peer_server_name(3)).await;
    assert!(matches!(mistaken, Err(Error::Handshake(_))), "master 1 passed for master 3");
}

#[tokio::test]
async fn nobody_else_gets_onto_the_peer_port() {
    let authority = authority();
    let peers = authority.peers().unwrap();
    let server = tls::peer_server(&peers, reloadable(authority.master_peer(1).unwrap())).unwrap();
    let strangers = [
        node(&authority, "n1"),
        authority.administrator("admin").unwrap(),
        authority.master_client(2).unwrap(),
        authority.api_serving(2, &[]).unwrap(),
        super::tests::authority().master_peer(2).unwrap(),
    ];
    for stranger in strangers {
        let client = tls::peer_client(&peers, reloadable(stranger)).unwrap();
        let outcome = meet(&server, &client, names::peer_server_name(1)).await;
        assert!(matches!(outcome, Err(Error::Handshake(_))), "{outcome:?}");
    }
}

#[tokio::test]
async fn the_api_knows_its_callers() {
    let authority = authority();
    let own = reloadable(authority.api_serving(1, &["10.1.2.3".to_owned()]).unwrap());
    let server = tls::api_server(&authority.clients().unwrap(), own).unwrap();
    let serving = authority.serving().unwrap();
    let call = async |credential: Option<Credential>| {
        let client = tls::api_client(&serving, credential.map(reloadable)).unwrap();
        meet(&server, &client, anywhere()).await
    };
    assert_eq!(call(None).await.unwrap(), Caller::anonymous());
    let admin = call(Some(authority.administrator("admin").unwrap())).await.unwrap();
    assert_eq!(admin, Caller::authenticated("admin", ["system:masters".to_owned()]));
    assert!(admin.is_in("system:authenticated") && !admin.is_anonymous());
    let caller = call(Some(node(&authority, "n1"))).await.unwrap();
    assert_eq!((caller.node(), caller.master()), (Some("n1"), None));
    let foreign = call(Some(super::tests::authority().administrator("admin").unwrap())).await;
    assert!(matches!(foreign, Err(Error::Handshake(_))), "{foreign:?}");
    let peer = call(Some(authority.master_peer(1).unwrap())).await;
    assert!(matches!(peer, Err(Error::Handshake(_))), "{peer:?}");
}

#[tokio::test]
async fn expired_and_future_certificates_are_refused() {
    let authority = authority();
    let own = reloadable(authority.api_serving(1, &[]).unwrap());
    let server = tls::api_server(&authority.clients().unwrap(), own).unwrap();
    let days = |count: i64| base::clock::now() + SignedDuration::from_hours(24 * count);
    for (issued, accepted) in [(days(-366), false), (days(-300), true), (days(0), true), (days(2), false)] {
        let credential = authority.client_at("someone", issued);
        let client = tls::api_client(&authority.serving().unwrap(), Some(reloadable(credential))).unwrap();
        let outcome = meet(&server, &client, anywhere()).await;
        assert_eq!(outcome.is_ok(), accepted, "issued {issued}: {outcome:?}");
    }
}

#[tokio::test]
async fn api_clients_accept_masters_of_their_cluster_only() {
    let authority = authority();
    let serving = authority.serving().unwrap();
    let client = tls::api_client(&serving, None).unwrap();
    let clients = authority.clients().unwrap();
    let pinned = tls::pinned_client(&serving.hash().unwrap()).unwrap();
    let master = tls::api_server(&clients, reloadable(authority.api_serving(1, &[]).unwrap())).unwrap();
    for client in [&client, &pinned] {
        meet(&master, client, names::host_server_name("any.example.org").unwrap()).await.unwrap();
    }
    let impostors = [agent(&authority, "n1"), super::tests::authority().api_serving(1, &[]).unwrap()];
    for impostor in impostors {
        let chain = format!("{}{}", impostor.certificate_pem(), serving.pem());
        let impostor = Credential::new(chain, impostor.key_pem()).unwrap();
        let server = tls::api_server(&clients, reloadable(impostor)).unwrap();
        for client in [&client, &pinned] {
            let outcome = meet(&server, client, anywhere()).await;
            assert!(matches!(outcome, Err(Error::Handshake(_))), "{outcome:?}");
        }
    }
}

#[tokio::test]
async fn an_unchecked_client_meets_anyone_and_shows_nothing() {
    let authority = authority();
    let server =
        tls::api_server(&authority.clients().unwrap(), reloadable(authority.api_serving(1, &[]).unwrap())).unwrap();
    let caller = meet(&server, &tls::unchecked_client().unwrap(), anywhere()).await.unwrap();
    assert!(caller.is_anonymous());
}

#[tokio::test]
async fn a_pin_of_another_cluster_is_refused_with_a_reason() {
    let authority = authority();
    let server =
        tls::api_server(&authority.clients().unwrap(), reloadable(authority.api_serving(1, &[]).unwrap())).unwrap();
    let other = super::tests::authority().serving().unwrap().hash().unwrap();
    let outcome = meet(&server, &tls::pinned_client(&other).unwrap(), anywhere()).await;
    let message = outcome.unwrap_err().to_string();
    assert!(message.contains("not the one that the token names"), "{message}");
    assert!(matches!(tls::pinned_client("abc"), Err(Error::TokenMalformed(_))));
}

#[tokio::test]
async fn agents_answer_masters_only_and_under_their_own_name() {
    let authority = authority();
    let own = reloadable(agent(&authority, "n1"));
    let server = tls::agent_server(&authority.clients().unwrap(), own).unwrap();
    let serving = authority.serving().unwrap();
    let call = async |credential: Credential, node: &str| {
        let client = tls::agent_client(&serving, reloadable(credential)).unwrap();
        meet(&server, &client, names::agent_server_name(node).unwrap()).await
    };
    let caller = call(authority.master_client(2).unwrap(), "n1").await.unwrap();
    assert_eq!(caller.master(), Some(2));
    assert!(call(authority.master_client(2).unwrap(), "n2").await.is_err(), "n1 passed for n2");
    for stranger in [node(&authority, "n2"), authority.administrator("admin").unwrap()] {
        let outcome = call(stranger, "n1").await;
        assert!(matches!(outcome, Err(Error::Handshake(_))), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_replaced_certificate_is_used_at_once() {
    let authority = authority();
    let own = reloadable(authority.api_serving(1, &[]).unwrap());
    let server = tls::api_server(&authority.clients().unwrap(), own.clone()).unwrap();
    let identity = reloadable(authority.administrator("before").unwrap());
    let client = tls::api_client(&authority.serving().unwrap(), Some(identity.clone())).unwrap();
    assert_eq!(meet(&server, &client, anywhere()).await.unwrap().user, "before");
    identity.replace(authority.administrator("after").unwrap()).unwrap();
    own.replace(authority.api_serving(1, &["10.9.9.9".to_owned()]).unwrap()).unwrap();
    assert_eq!(meet(&server, &client, anywhere()).await.unwrap().user, "after");
    assert!(!identity.needs_renewal(base::clock::now()));
}

#[tokio::test]
async fn a_silent_caller_is_dropped_in_time() {
    let authority = authority();
    let own = reloadable(authority.api_serving(1, &[]).unwrap());
    let server = tls::api_server(&authority.clients().unwrap(), own).unwrap();
    let (_silent, stream) = tokio::io::duplex(1024);
    let outcome = accept_within(Duration::from_millis(20), server, stream).await;
    assert!(matches!(outcome, Err(Error::HandshakeTimeout(_))));
    let client = tls::api_client(&authority.serving().unwrap(), None).unwrap();
    let (_silent, stream) = tokio::io::duplex(1024);
    let outcome = connect(client, anywhere(), stream, Duration::from_millis(20)).await;
    assert!(matches!(outcome, Err(Error::HandshakeTimeout(_))));
}

#[test]
fn authorities_survive_a_restart_and_travel() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pki");
    assert!(Authority::load(&path).unwrap().is_none());
    let authority = authority();
    authority.save(&path).unwrap();
    let loaded = Authority::load(&path).unwrap().unwrap();
    assert_eq!(loaded.cluster_id(), "test");
    assert!(loaded.export() == authority.export());
    let sent = serde_json::to_string(&authority.export()).unwrap();
    let joined = Authority::import(serde_json::from_str(&sent).unwrap());
    assert_eq!(joined.serving().unwrap(), authority.serving().unwrap());
    std::fs::write(path.join("authority.json"), &sent[..sent.len() / 2]).unwrap();
    assert!(matches!(Authority::load(&path), Err(Error::Damaged { .. })));
}

#[test]
fn secrets_stay_out_of_debug_output() {
    let authority = authority();
    let credential = authority.administrator("admin").unwrap();
    let key = KeyRequest::generate("x").unwrap();
    let shown =
        format!("{authority:?} {:?} {credential:?} {key:?} {:?}", authority.export(), reloadable(credential.clone()));
    assert!(!shown.contains("PRIVATE KEY") && !shown.contains("key_pem"), "{shown}");
}

#[test]
fn credentials_are_kept_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.pem");
    let authority = authority();
    assert!(Credential::load(&path).unwrap().is_none());
    for credential in [authority.administrator("admin").unwrap(), authority.api_serving(1, &[]).unwrap()] {
        credential.save(&path).unwrap();
        assert_eq!(Credential::load(&path).unwrap().unwrap(), credential);
    }
    std::fs::write(&path, authority.administrator("admin").unwrap().certificate_pem()).unwrap();
    assert!(matches!(Credential::load(&path), Err(Error::Damaged { .. })));
    let (one, other) = (authority.administrator("a").unwrap(), authority.administrator("b").unwrap());
    assert!(matches!(Credential::new(one.certificate_pem(), other.key_pem()), Err(Error::Key(_))));
}

#[test]
fn renewal_is_due_after_two_thirds() {
    let issued = base::clock::now();
    let credential = authority().client_at("someone", issued);
    let after = |days: i64| issued + SignedDuration::from_hours(24 * days);
    assert!(!credential.needs_renewal(after(242)));
    assert!(credential.needs_renewal(after(244)));
    assert!(credential.not_after() > after(364) && credential.not_after() < after(366));
    assert!(!credential.needs_renewal(Timestamp::UNIX_EPOCH));
}

#[test]
fn requests_do_not_choose_their_names() {
    let authority = authority();
    let key = KeyRequest::generate("admin").unwrap();
    let mut tampered: Vec<char> = key.request_pem().chars().collect();
    let middle = tampered.len() / 2;
    tampered[middle] = if tampered[middle] == 'A' { 'B' } else { 'A' };
    let tampered: String = tampered.into_iter().collect();
    for bad in ["", "no request", tampered.as_str()] {
        assert!(matches!(authority.node_client(bad, "n1"), Err(Error::Request(_))), "{bad}");
    }
    assert!(matches!(authority.node_client(key.request_pem(), "Not/A/Node"), Err(Error::Name { .. })));
    let grab = authority.user_client(key.request_pem(), "eve", Some(names::GROUP_MASTERS));
    assert!(matches!(grab, Err(Error::Name { .. })));
    let certificate = authority.node_client(key.request_pem(), "n1").unwrap();
    let credential = key.complete(certificate).unwrap();
    let chain = crate::trust::parse_chain(credential.certificate_pem()).unwrap();
    let caller = Caller::from_certificate(&chain[0]).unwrap();
    assert_eq!((caller.user.as_str(), caller.node()), ("system:node:n1", Some("n1")));
    let reserved = authority.api_serving(1, &["n1.node.barque".to_owned()]);
    assert!(matches!(reserved, Err(Error::Name { .. })));
}

#[test]
fn trust_needs_a_certificate() {
    let authority = authority();
    let trust = authority.serving().unwrap();
    assert_eq!(Trust::from_pem(trust.pem()).unwrap().hash().unwrap().len(), 64);
    assert!(matches!(Trust::from_pem(""), Err(Error::Certificate(_))));
    assert!(serde_json::from_str::<Trust>("\"nothing\"").is_err());
    let token = Token::new(crate::Role::Node, trust.hash().unwrap());
    assert!(tls::pinned_client(token.authority_hash()).is_ok());
}

#[tokio::test]
async fn a_failed_handshake_is_told_in_plain_words() {
    let authority = authority();
    let own = reloadable(authority.master_peer(1).unwrap());
    let server = tls::peer_server(&authority.peers().unwrap(), own).unwrap();
    let told = async |sent: Option<&[u8]>, client: Option<Arc<ClientConfig>>| {
        let (mut near, far) = tokio::io::duplex(64 * 1024);
        let server = server.clone();
        let serving = tokio::spawn(async move { accept(server, far).await.map(|_| ()).expect_err("refused") });
        if let Some(bytes) = sent {
            near.write_all(bytes).await.unwrap();
            // It answers with an alert, which is of no interest here.
            let _ = near.read_u8().await;
        } else if let Some(client) = client {
            let mut stream = connect(client, anywhere(), near, Duration::from_secs(5)).await.unwrap();
            stream.read_u8().await.expect_err("refused");
        } else {
            drop(near);
        }
        serving.await.unwrap()
    };
    let nobody = told(None, Some(tls::unchecked_client().unwrap())).await;
    assert!(nobody.to_string().contains("no certificate was shown") && !nobody.is_hangup(), "{nobody}");
    let plain = told(Some(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"), None).await;
    assert!(plain.to_string().contains("is not TLS") && !plain.is_hangup(), "{plain}");
    let gone = told(None, None).await;
    assert!(gone.is_hangup(), "{gone}");
}

#[test]
fn a_request_is_kept_until_it_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("joining.pem");
    let first = KeyRequest::kept(&path, "n").unwrap();
    let again = KeyRequest::kept(&path, "n").unwrap();
    assert_eq!(first.request_pem(), again.request_pem());
    let certificate = authority().node_client(first.request_pem(), "n").unwrap();
    again.complete(certificate).expect("the same key");
    for damage in [&b"half"[..], b"\xff\xfe", b""] {
        std::fs::write(&path, damage).unwrap();
        let fresh = KeyRequest::kept(&path, "n").unwrap();
        assert_ne!(fresh.request_pem(), first.request_pem());
        assert_eq!(fresh.request_pem(), KeyRequest::kept(&path, "n").unwrap().request_pem());
    }
}
