//! Requests against small real servers: TLS in both versions, wrong certificates, no TLS at all, a unix socket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::thread;

use ccorch_core::provision::Fingerprint;
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::version::{TLS12, TLS13};
use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, ServerConnection, SignatureScheme, StreamOwned,
    SupportedProtocolVersion,
};
use sha2::{Digest, Sha256};

use super::super::api::Auth;
use super::*;

const TRUSTED: &str = r#"{"type":"sync","status_code":200,"metadata":{"auth":"trusted"}}"#;

/// Accepts every client certificate whose key the client holds, as Incus does before it looks it up.
#[derive(Debug)]
struct AnyClient;

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = ring::default_provider().signature_verification_algorithms;
        verify_tls12_signature(message, leaf, signed, &known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = ring::default_provider().signature_verification_algorithms;
        verify_tls13_signature(message, leaf, signed, &known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Shows a certificate with any key, its own or not.
#[derive(Debug)]
struct Shows(Arc<rustls::sign::CertifiedKey>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
        Some(self.0.clone())
    }
}

struct Server {
    certificate: CertificateDer<'static>,
    signing_key: KeyPair,
    version: &'static SupportedProtocolVersion,
    status: &'static str,
    body: String,
}

impl Server {
    fn new() -> Self {
        let CertifiedKey { cert, signing_key } = pair();
        let certificate = cert.der().clone();
        Self { certificate, signing_key, version: &TLS13, status: "200 OK", body: TRUSTED.into() }
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint(Sha256::digest(&self.certificate).into())
    }

    /// Serves until the test's process ends; `CLIENT` in the body becomes the fingerprint of the client's certificate.
    fn start(&self) -> SocketAddr {
        let der = rustls::pki_types::PrivateKeyDer::try_from(self.signing_key.serialize_der()).unwrap();
        let key = ring::sign::any_supported_type(&der).unwrap();
        let shown = rustls::sign::CertifiedKey::new(vec![self.certificate.clone()], key);
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[self.version])
            .unwrap()
            .with_client_cert_verifier(Arc::new(AnyClient))
            .with_cert_resolver(Arc::new(Shows(Arc::new(shown))));
        let (config, status, body) = (Arc::new(config), self.status, self.body.clone());
        listen(move |socket| {
            let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), socket);
            if read_request(&mut stream) {
                let client = stream.conn.peer_certificates().and_then(|chain| chain.first());
                let client = client.map(|leaf| Fingerprint(Sha256::digest(leaf).into()).to_string());
                let body = body.replace("CLIENT", &client.unwrap_or_default());
                let _ = stream.write_all(&response(status, &body));
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        })
    }
}

fn pair() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(["localhost".into()]).unwrap()
}

fn response(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
        .into_bytes()
}

fn listen(serve: impl Fn(std::net::TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || listener.incoming().flatten().for_each(serve));
    address
}

/// Reads up to the end of the header; false when the connection ends before.
fn read_request(stream: &mut impl Read) -> bool {
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => seen.push(byte[0]),
            _ => return false,
        }
    }
    true
}

fn credential() -> (Credential, Fingerprint) {
    let CertifiedKey { cert, signing_key } = pair();
    let print = Fingerprint(Sha256::digest(cert.der()).into());
    let key = rustls::pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    (Credential { chain: vec![cert.der().clone()], key }, print)
}

fn client(address: SocketAddr, trust: Trust) -> Client {
    Client::new(Login::Https(format!("https://{address}"), credential().0, trust), "default").unwrap()
}

fn failure(address: SocketAddr, trust: Trust) -> Failure {
    client(address, trust).server_info().unwrap_err().failure
}

#[test]
fn both_ends_show_their_certificates_in_both_versions() {
    for version in [&TLS12, &TLS13] {
        let body = r#"{"type":"sync","status_code":200,"metadata":["/1.0/projects/CLIENT"]}"#;
        let server = Server { version, body: body.into(), ..Server::new() };
        let (credential, ours) = credential();
        let login = Login::Https(
            format!("https://{}", server.start()),
            credential,
            Trust::Fingerprint(server.fingerprint()),
        );
        assert_eq!(Client::new(login, "default").unwrap().projects().unwrap(), [ours.to_string()]);
    }
}

#[test]
fn another_certificate_is_refused_and_both_fingerprints_are_told() {
    let server = Server::new();
    let expected = Fingerprint([0xab; 32]);
    let address = server.start();
    let error = client(address, Trust::Fingerprint(expected)).server_info().unwrap_err();
    let text = format!(
        "Incus server https://{address}: GET /1.0: the server is not the expected one: its certificate has fingerprint \
         {:.16}..., not abababababababab...",
        server.fingerprint()
    );
    assert_eq!(error.to_string(), text);
}

/// Whoever copies the certificate of the real server still lacks its key.
#[test]
fn the_pinned_certificate_without_its_key_is_refused() {
    for version in [&TLS12, &TLS13] {
        let real = Server::new();
        let forger = Server { certificate: real.certificate.clone(), version, ..Server::new() };
        let failure = failure(forger.start(), Trust::Fingerprint(real.fingerprint()));
        assert_eq!(failure, Failure::Certificate("BadSignature".into()), "{version:?}");
    }
}

#[test]
fn a_self_signed_server_is_refused_without_a_fingerprint() {
    let failure = failure(Server::new().start(), Trust::System);
    assert!(matches!(failure, Failure::Certificate(_)), "{failure:?}");
}

#[test]
fn a_server_that_is_no_incus_is_told_apart_by_how_it_fails() {
    let html = Server { body: "<html>hello</html>".into(), ..Server::new() };
    let trust = |server: &Server| Trust::Fingerprint(server.fingerprint());
    assert_eq!(
        failure(html.start(), trust(&html)),
        Failure::NotIncus("it starts with `<html>hello</html>`".into())
    );
    let redirect = Server {
        status: "302 Found\r\nLocation: https://127.0.0.1:1/",
        body: String::new(),
        ..Server::new()
    };
    assert_eq!(failure(redirect.start(), trust(&redirect)), Failure::NotIncus("it is empty".into()));
    let plain = listen(|mut socket| {
        let _ = socket.read(&mut [0; 64]);
        let _ = socket.write_all(&response("400 Bad Request", ""));
    });
    let no_tls = Failure::Tls("it does not speak TLS on this port".into());
    assert_eq!(failure(plain, Trust::System), no_tls);
}

#[test]
fn a_closed_port_and_a_connection_that_ends_are_no_answer() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(matches!(failure(closed, Trust::System), Failure::Unreachable(_)));
    let hangs_up = listen(|mut socket| {
        let _ = socket.read(&mut [0; 1024]);
    });
    assert!(matches!(failure(hangs_up, Trust::System), Failure::Unreachable(_)));
}

#[test]
fn a_refusal_keeps_server_and_request() {
    let body = r#"{"type":"error","error_code":403,"error":"not authorized"}"#;
    let server = Server { status: "403 Forbidden", body: body.into(), ..Server::new() };
    let address = server.start();
    let client = client(address, Trust::Fingerprint(server.fingerprint()));
    let text =
        format!("Incus server https://{address}: GET /1.0/instances/vm/files: not allowed: not authorized");
    assert_eq!(client.file("vm", "/etc/hostname").unwrap_err().to_string(), text);
}

#[test]
fn a_unix_socket_serves_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("unix.socket");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            read_request(&mut stream);
            let _ = stream.write_all(&response("200 OK", TRUSTED));
        }
    });
    let client = Client::new(Login::Unix(path.clone()), "default").unwrap();
    assert_eq!(client.server_info().unwrap().auth, Auth::Trusted);
    let gone = Client::new(Login::Unix(dir.path().join("gone")), "default").unwrap();
    let error = gone.server_info().unwrap_err();
    assert_eq!(error.server, format!("unix://{}", dir.path().join("gone").display()));
    assert!(matches!(error.failure, Failure::Unreachable(_)), "{error}");
}

#[test]
fn nothing_in_a_name_leaves_its_place_in_the_path() {
    assert_eq!(encoded("a/b?c&d e%ä"), "a%2Fb%3Fc%26d%20e%25%C3%A4");
    assert_eq!(encoded("debian-12_x.y~"), "debian-12_x.y~");
}
