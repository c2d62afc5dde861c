//! docs/deployment.md, step by step, with the samples of `config/`: three masters and two nodes, each on an address of its
//! own. Containers are simulated.

mod deployed;

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use deployed::{Caller, PATIENCE, Place, Running, barque, free_ports, kubectl, until};
use nix::sys::signal::Signal;
use serde_json::Value;

/// The three masters, and how to reach them.
struct Site {
    folder: tempfile::TempDir,
    masters: Vec<(Place, Running)>,
    kubeconfig: PathBuf,
}

impl Site {
    /// Steps 1 and 2.
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let here = folder.path();
        let kubeconfig = here.join("kubeconfig");
        let first = Place::make(here, "master-1", "127.0.0.31", None);
        let running = first.start_ready();
        first.kubeconfig(&kubeconfig, &[&first.api]);
        assert!(kubectl(&kubeconfig, "get namespaces").expect("kubectl").contains("kube-system"));
        let token = here.join("master-token");
        let create = ["token", "create", "--role", "master", "--uses", "2", "--kubeconfig", text(&kubeconfig)];
        std::fs::write(&token, barque(&create)).expect("a file");
        let mut masters = vec![(first, running)];
        for (name, address) in [("master-2", "127.0.0.32"), ("master-3", "127.0.0.33")] {
            let place = Place::make(here, name, address, Some((&masters[0].0.api, &token)));
            let running = place.start_ready();
            masters.push((place, running));
        }
        // It is read at the first start only.
        std::fs::remove_file(token).expect("a file");
        let servers: Vec<&str> = masters.iter().map(|(place, _)| &*place.api).collect();
        masters[1].0.kubeconfig(&kubeconfig, &servers);
        let site = Self { folder, masters, kubeconfig };
        site.tolerates(1);
        site
    }

    fn status(&self) -> Value {
        let status = barque(&["status", "-o", "json", "--kubeconfig", text(&self.kubeconfig)]);
        serde_json::from_str(&status).expect("JSON")
    }

    fn tolerates(&self, failures: u64) {
        until(&format!("a cluster that tolerates {failures}"), || {
            let status = self.status();
            (status["tolerates"] == failures && status["leader"].is_string()).then_some(())
        });
    }

    /// Step 3: a node from the sample.
    fn node(&self, number: u8) -> Node {
        let here = self.folder.path();
        let (name, address) = (format!("node-{number}"), format!("127.0.0.{}", 40 + number));
        let ([port], [gateway]) = (free_ports::<1>(&address), free_ports::<1>("127.0.0.1"));
        let token = here.join(format!("{name}-token"));
        std::fs::write(&token, barque(&["token", "create", "--role", "node", "--kubeconfig", text(&self.kubeconfig)]))
            .expect("a file");
        let mut file = include_str!("../config/node.yaml").to_owned();
        for (position, (place, _)) in self.masters.iter().enumerate() {
            file = file.replace(&format!("10.0.0.{}:6443", position + 1), &place.api);
        }
        for (sample, own) in [
            ("name: node-1", format!("name: {name}")),
            ("/var/lib/barque/node", here.join(&name).display().to_string()),
            ("/etc/barque/token", token.display().to_string()),
            ("address: 10.0.0.11", format!("address: {address}")),
            ("port: 10250", format!("port: {port}")),
            ("hostPortAddress: 0.0.0.0", format!("hostPortAddress: {address}")),
            ("127.0.0.1:7443", format!("127.0.0.1:{gateway}")),
            ("runtime: docker", "runtime: sim".to_owned()),
        ] {
            assert!(file.contains(sample), "the sample has {sample}");
            file = file.replace(sample, &own);
        }
        let config = here.join(format!("{name}.yaml"));
        std::fs::write(&config, file).expect("a file");
        let running = Running::barque(&["node", "--config", text(&config)], &here.join(format!("{name}.log")));
        let ready = "jsonpath={.status.conditions[?(@.type=='Ready')].status}";
        let look = format!("get node {name} -o {ready}");
        until(&format!("{name} Ready"), || {
            (kubectl(&self.kubeconfig, &look).is_ok_and(|status| status == "True")).then_some(())
        });
        Node { running, gateway: format!("127.0.0.1:{gateway}") }
    }

    fn ok(&self, line: &str) -> String {
        kubectl(&self.kubeconfig, line).unwrap_or_else(|error| panic!("kubectl {line}: {error}"))
    }

    /// A kubeconfig whose only server is this endpoint.
    fn through(&self, endpoint: &str) -> PathBuf {
        let path = self.folder.path().join(format!("through-{endpoint}"));
        self.masters[0].0.kubeconfig(&path, &[endpoint]);
        path
    }

    /// The master to which an endpoint leads.
    fn behind(&self, endpoint: &Path) -> usize {
        let caller = Caller::new(endpoint);
        let id = until("a status", || {
            let (code, status) = caller.get("/barque/v1/status")?;
            (code == 200).then(|| serde_json::from_str::<Value>(&status).expect("JSON")["id"].clone())
        });
        let own = |place: &Place| {
            let record = std::fs::read_to_string(place.dir.join("master.json")).expect("a file");
            serde_json::from_str::<Value>(&record).expect("JSON")["id"] == id
        };
        self.masters.iter().position(|(place, _)| own(place)).expect("one of the masters")
    }
}

struct Node {
    running: Running,
    gateway: String,
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a name")
}

#[test]
fn three_machines_as_the_document_says() {
    let mut site = Site::start();
    let mut nodes = [site.node(1), site.node(2)];
    site.ok("create deployment web --image=sim --replicas=4");
    site.ok("rollout status deployment web --timeout=60s");

    // Step 4: an endpoint of one's own, and the default context leads through it.
    let [listen] = free_ports("127.0.0.1");
    let listen = format!("127.0.0.1:{listen}");
    let masters: Vec<&str> = site.masters.iter().map(|(place, _)| &*place.api).collect();
    let arguments =
        ["gateway", "--masters", &masters.join(","), "--listen", &listen, "--kubeconfig", text(&site.kubeconfig)];
    let mut gateway = Running::barque(&arguments, &site.folder.path().join("gateway.log"));
    let own = site.folder.path().join("own");
    std::fs::copy(&site.kubeconfig, &own).unwrap();
    kubectl(&own, &format!("config set-cluster barque --server https://{listen}")).unwrap();
    let led = |line: &str| until(&format!("kubectl {line}"), || kubectl(&own, line).ok());
    assert!(led("get nodes").contains("node-2"));

    // A master dies; all goes on, through any endpoint.
    let leader = site.status()["leader"].as_str().unwrap().to_owned();
    let victim = site.masters.iter().position(|(place, _)| place.dir.ends_with(&leader)).unwrap();
    site.masters[victim].1.kill();
    led("create configmap after --from-literal=a=1");
    led("scale deployment web --replicas=6");
    led("rollout status deployment web --timeout=60s");
    let through = site.through(&nodes[0].gateway);
    until("a node's own endpoint", || kubectl(&through, "get configmap after").ok());
    for node in &mut nodes {
        assert!(node.running.ended().is_none(), "{}", node.running.log());
    }
    // It comes back without its token, with what it had.
    let again = site.masters[victim].0.start_ready();
    site.masters[victim].1 = again;
    site.tolerates(1);
    let (code, _) =
        site.masters[victim].0.caller().get("/api/v1/namespaces/default/configmaps/after").expect("an answer");
    assert_eq!(code, 200);

    gateway.stop();
    for node in &mut nodes {
        node.running.stop();
    }
    for (_, running) in &mut site.masters {
        running.stop();
    }
}

#[test]
fn a_nodes_own_endpoint_resets_connections_to_a_frozen_master_and_leads_elsewhere() {
    let site = Site::start();
    let node = site.node(1);
    let through = site.through(&node.gateway);
    let frozen = site.behind(&through);
    // Whoever is connected waits for an answer that will not come.
    let mut waiting = TcpStream::connect(&node.gateway).unwrap();
    waiting.set_read_timeout(Some(PATIENCE)).unwrap();
    site.masters[frozen].1.signal(Signal::SIGSTOP);
    let seen = waiting.read(&mut [0; 16]).expect_err("a reset");
    assert_eq!(seen.kind(), ErrorKind::ConnectionReset);
    // From then on the endpoint leads to another master.
    assert!(kubectl(&through, "get namespaces --request-timeout=10s").unwrap().contains("kube-system"));
    until("a write", || kubectl(&through, "create configmap meanwhile --from-literal=a=1 --request-timeout=10s").ok());
    assert_ne!(site.behind(&through), frozen);
    site.masters[frozen].1.signal(Signal::SIGCONT);
    site.tolerates(1);
}
