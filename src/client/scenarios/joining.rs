//! Joining: only masters of the token's own cluster get to see it.

use crate::fake::{CLUSTER, FakeMaster, json, server_tls_of};
use crate::{Endpoints, Error, join};
use identity::{Authority, Role, Token};
use serde_json::{Value, json as value};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(8);

fn token() -> Token {
    Token::new(Role::Node, CLUSTER.serving().unwrap().hash().unwrap())
}

fn endpoints(masters: &[&FakeMaster]) -> Endpoints {
    Endpoints::in_order(masters.iter().map(|master| master.address.clone())).unwrap()
}

#[tokio::test]
async fn the_request_reaches_a_master_of_the_cluster() {
    let other = Authority::generate("other").unwrap();
    let impostor = FakeMaster::start_with(server_tls_of(&other), |_| Some(json(200, &value!({})))).await;
    let master = FakeMaster::start(|_| Some(json(200, &value!({"welcome": true})))).await;
    let token = token();
    let masters = endpoints(&[&impostor, &master]);
    let answer = join(&masters, &token, &value!({"name": "n1"}), DEADLINE).await.unwrap();
    assert_eq!(answer["welcome"], true);
    assert_eq!(impostor.calls().len(), 0, "the impostor saw the token");
    let calls = master.calls();
    assert_eq!((calls[0].method.as_str(), calls[0].path.as_str()), ("POST", "/barque/v1/join"));
    let body: Value = serde_json::from_slice(&calls[0].body).unwrap();
    assert_eq!(body, value!({"name": "n1", "token": token.expose()}));
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again() {
    let silent = FakeMaster::start(|_| None).await;
    let busy = FakeMaster::start(|_| Some(json(503, &value!({"message": "there is no leader now"})))).await;
    let master = FakeMaster::start(|_| Some(json(200, &value!({"welcome": true})))).await;
    let (one, masters) = (token(), endpoints(&[&busy, &silent, &master]));
    let request = value!({"name": "n1"});
    let asking = join(&masters, &one, &request, DEADLINE);
    let killing = async {
        // It has taken the request, and dies with it.
        while silent.calls().is_empty() {
            tokio::task::yield_now().await;
        }
        silent.kill().await;
    };
    let (answer, ()) = tokio::join!(asking, killing);
    assert_eq!(answer.unwrap()["welcome"], true);
    assert_eq!(master.calls()[0].body, busy.calls()[0].body, "it is the same request");
}

#[tokio::test]
async fn errors_say_what_to_do() {
    let refusing = |_| Some(json(403, &value!({"message": "the join token expired"})));
    let master = FakeMaster::start(refusing).await;
    let error = join(&endpoints(&[&master]), &token(), &value!({}), DEADLINE).await.unwrap_err();
    assert_eq!(error.to_string(), "joining was refused: the join token expired");
    let other = Authority::generate("other").unwrap();
    let impostor = FakeMaster::start_with(server_tls_of(&other), |_| None).await;
    let masters = endpoints(&[&impostor]);
    let error = join(&masters, &token(), &value!({}), Duration::from_millis(400)).await.unwrap_err();
    assert!(error.to_string().contains("not the one that the token names"), "{error}");
    let outcome = join(&masters, &token(), &value!([]), DEADLINE).await;
    assert!(matches!(outcome, Err(Error::Request(_))));
}
