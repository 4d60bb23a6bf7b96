//! `ccorch provision` refuses what cannot work, before it asks any server or as soon as one answers: whole outputs.

// Helpers of tests are tests, too; clippy knows only functions marked `#[test]`.
#![allow(clippy::unwrap_used, clippy::panic)]

mod provision_support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use insta::assert_snapshot;
use provision_support::Place;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sha2::{Digest, Sha256};

const FINGERPRINT: &str = "abababababababababababababababababababababababababababababababab";

fn settings(url: &str, more: &str) -> String {
    format!(
        "provider: incus\n\
         incus: {{ url: \"{url}\", certificate: client.crt, key: client.key, image: debian-12, type: container, \
         authorized_key: operator.pub{more} }}\n"
    )
}

/// A place whose server would be at a port that is closed.
fn place() -> Place {
    let mut place = Place::new();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    place.rig("vm", &settings(&format!("https://{closed}"), &format!(", fingerprint: {FINGERPRINT}")));
    place.names.push((closed.to_string(), "SERVER".into()));
    place
}

/// A place whose server is at this address; with more settings.
fn served(address: SocketAddr, more: &str) -> Place {
    let mut place = Place::new();
    place.rig("vm", &settings(&format!("https://localhost:{}", address.port()), more));
    place.names.push((format!("localhost:{}", address.port()), "SERVER".into()));
    place
}

#[test]
fn a_missing_key_file() {
    let place = place();
    std::fs::remove_file(place.dir().join("client.key")).unwrap();
    assert_snapshot!(place.run(&["vm"]), @r"
    status 3
    err| error: client key client.key: no such file
    err| hint: put it there, or correct `incus.certificate` and `incus.key` of the host in the rig file
    ");
}

#[test]
fn a_key_file_that_others_can_read() {
    let place = place();
    let key = std::fs::read_to_string(place.dir().join("client.key")).unwrap();
    place.write("client.key", &key, 0o644);
    assert_snapshot!(place.run(&["vm"]), @r"
    status 7
    err| error: client key client.key: its mode is 0644, so others than its owner can use it
    err| hint: `chmod 600 client.key`, and if others used this machine, make a new pair
    ");
}

#[test]
fn a_key_of_another_certificate() {
    let place = place();
    let other = rcgen::generate_simple_self_signed(["other".into()]).unwrap();
    place.write("client.key", &other.signing_key.serialize_pem(), 0o600);
    assert_snapshot!(place.run(&["vm"]), @r"
    status 3
    err| error: client key client.key: does not go with the certificate: keys may not be consistent: KeyMismatch
    err| hint: make a pair with `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes`, and have the server trust it
    ");
}

#[test]
fn no_public_key_of_the_operator() {
    let place = place();
    std::fs::remove_file(place.dir().join("operator.pub")).unwrap();
    assert_snapshot!(place.run(&["vm"]), @r"
    status 3
    err| error: operator's public ssh key operator.pub: no such file
    err| hint: make a pair with `ssh-keygen -t ed25519` and name its `.pub` file as `incus.authorized_key`
    ");
}

#[test]
fn the_operators_private_key_in_place_of_the_public_one() {
    let place = place();
    std::fs::copy(place.dir().join("operator"), place.dir().join("operator.pub")).unwrap();
    assert_snapshot!(place.run(&["vm"]), @r"
    status 3
    err| error: operator's public ssh key operator.pub: holds a private key, not the public one
    err| hint: make a pair with `ssh-keygen -t ed25519` and name its `.pub` file as `incus.authorized_key`
    ");
}

#[test]
fn a_url_that_is_not_https() {
    let place = Place::new();
    place.rig("vm", &settings("http://b1:8443", ""));
    assert_snapshot!(place.run(&["vm"]), @r"
    status 3
    err| error: 1 error in the rig file
    err| ccorch.yaml:8: hosts.vm.incus.url: `http://b1:8443` is not the URL of an Incus server: `https://HOST:PORT` or `unix:///PATH` is
    err| hint: mend the file; `ccorch check` tells warnings too
    ");
}

#[test]
fn a_fingerprint_that_is_none() {
    let place = Place::new();
    place.rig("vm", &settings("https://b1:8443", ", fingerprint: abc"));
    assert_snapshot!(place.run(&["vm"]), @r"
    status 3
    err| error: 1 error in the rig file
    err| ccorch.yaml:8: hosts.vm.incus.fingerprint: expected 64 hexadecimal digits (SHA-256 of the certificate), found `abc`
    err| hint: mend the file; `ccorch check` tells warnings too
    ");
}

#[test]
fn a_server_that_is_down() {
    assert_snapshot!(place().run(&["vm"]), @r"
    status 4
    err| - asking https://SERVER
    err| error: Incus server https://SERVER: GET /1.0: no answer: Connection refused (os error 111)
    err| hint: see that incusd runs and listens there (on the server: `incus config get core.https_address`)
    ");
    assert_snapshot!(place().run(&["vm", "--dry-run"]), @r"
    status 4
    err| - asking https://SERVER
    err| error: Incus server https://SERVER: GET /1.0: no answer: Connection refused (os error 111)
    err| hint: see that incusd runs and listens there (on the server: `incus config get core.https_address`)
    ");
}

#[test]
fn a_server_that_speaks_no_tls() {
    let address = serve(|mut socket| {
        let _ = socket.read(&mut [0; 512]);
        let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    });
    let place = served(address, &format!(", fingerprint: {FINGERPRINT}"));
    assert_snapshot!(place.run(&["vm"]), @r"
    status 5
    err| - asking https://SERVER
    err| error: Incus server https://SERVER: GET /1.0: no TLS connection: it does not speak TLS on this port
    err| hint: correct `incus.url` in the rig file: this is not where the Incus server listens
    ");
}

#[test]
fn a_tls_server_that_is_another_one_than_pinned() {
    let (address, pem, found) = web_server();
    let mut place = served(address, &format!(", fingerprint: {FINGERPRINT}"));
    place.names.push((found[..16].to_owned(), "FOUND".into()));
    // That an authority vouches for it does not outweigh the pin.
    place.write("authorities.pem", &pem, 0o644);
    assert_snapshot!(place.run(&["vm"]), @r"
    status 5
    err| - asking https://SERVER
    err| error: Incus server https://SERVER: GET /1.0: the server is not the expected one: its certificate has fingerprint FOUND..., not abababababababab...
    err| hint: look at `incus info` on the server itself; only if the fingerprint there is the new one, put it in the rig file (`incus.fingerprint`)
    ");
}

#[test]
fn a_tls_server_that_no_authority_vouches_for() {
    let (address, _, _) = web_server();
    assert_snapshot!(served(address, "").run(&["vm"]), @r"
    status 5
    err| - asking https://SERVER
    err| error: Incus server https://SERVER: GET /1.0: the server's certificate is not trusted: UnknownIssuer
    err| hint: pin the server's certificate in the rig file (`incus.fingerprint`), as `incus info` on the server itself shows it
    ");
}

#[test]
fn a_trusted_tls_server_that_is_no_incus() {
    let (address, pem, found) = web_server();
    let place = served(address, "");
    place.write("authorities.pem", &pem, 0o644);
    let by_authority = place.run(&["vm"]);
    assert_snapshot!(by_authority, @r"
    status 5
    err| - asking https://SERVER
    err| error: Incus server https://SERVER: GET /1.0: the answer is not one of an Incus server: it starts with `<html></html>`
    err| hint: correct `incus.url` in the rig file: this is not where the Incus server listens
    ");
    let pinned = served(address, &format!(", fingerprint: {found}"));
    assert_eq!(pinned.run(&["vm"]), by_authority);
}

#[test]
fn a_host_that_nothing_makes() {
    let place = Place::new();
    place.rig("pi", "ssh: pi@raspberrypi\n");
    assert_snapshot!(place.run(&["pi"]), @r"
    status 3
    err| error: host `pi` has no `provider`: ccorch cannot make it
    err| hint: a host with `ssh` alone has to be there already; `provider: incus` and `provider: qemu` make one
    ");
    place.rig("pi", "provider: incus\n");
    assert_snapshot!(place.run(&["pi"]), @r"
    status 3
    err| error: 1 error in the rig file
    err| ccorch.yaml:6: hosts.pi.incus: missing; `provider: incus` needs this section
    err| hint: mend the file; `ccorch check` tells warnings too
    ");
    place.rig("vm", "provider: qemu\n");
    assert_snapshot!(place.run(&["vm"]), @r"
    status 3
    err| error: 1 error in the rig file
    err| ccorch.yaml:6: hosts.vm.qemu: missing; `provider: qemu` needs this section
    err| hint: mend the file; `ccorch check` tells warnings too
    ");
    place.rig("vm", "ssh: vm\n");
    assert_snapshot!(place.run(&["mv"]), @r"
    status 3
    err| error: ccorch.yaml: no host `mv`
    err| hint: the hosts there are: vm
    ");
}

fn serve(answer: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || listener.incoming().flatten().for_each(answer));
    address
}

/// An HTTPS server for `localhost` that shows a page: its address, certificate and fingerprint.
fn web_server() -> (SocketAddr, String, String) {
    let pair = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    let key = PrivateKeyDer::try_from(pair.signing_key.serialize_der()).unwrap();
    let fingerprint = Sha256::digest(pair.cert.der()).iter().map(|byte| format!("{byte:02x}")).collect();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![pair.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let address = serve(move |socket| {
        let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), socket);
        if stream.read(&mut [0; 4096]).is_ok() {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<html></html>");
            let _ = stream.flush();
        }
    });
    (address, pair.cert.pem(), fingerprint)
}
