"""A server that others reach: TLS, a key that never travels, and nobody in between."""

import socket
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hwloop
from hwloop import ConfigError, DeviceSpec
from hwloop.devices.remote import DeviceServer, RemoteDevice
from hwloop.devices.remote.address import Address, is_loopback
from hwloop.devices.remote.channel import Channel
from hwloop.devices.remote.security import ServerSecurity, client_context, is_proof, new_nonce, proof, read_key

# Made for these tests alone, with openssl req -x509 -newkey ec; they protect nothing.
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBgjCCASmgAwIBAgIUEeLpOpZbnKJe48r/REpaXXb2Dk0wCgYIKoZIzj0EAwIw
FjEUMBIGA1UEAwwLaHdsb29wLXRlc3QwIBcNMjYxMTIzMTUxODA1WhgPMjEyNjEw
MzAxNTE4MDVaMBYxFDASBgNVBAMMC2h3bG9vcC10ZXN0MFkwEwYHKoZIzj0CAQYI
KoZIzj0DAQcDQgAEJPX3hz4bGpmj0b5a91pFp4po/0Y637TfTqpL1Uh70R1agL5i
W3l/XGKg3+g1XTp8bvAsF/fvPcWTzE9RGfIza6NTMFEwHQYDVR0OBBYEFOE5j+Ib
JFf4ix07/ehKt7/3Cq2pMB8GA1UdIwQYMBaAFOE5j+IbJFf4ix07/ehKt7/3Cq2p
MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDRwAwRAIgF9oBU9Rx/uCJzXVT
/xYQlsnbuaOixDt/LbWV2G8i9MQCIDxrkdEuM2Hiasw1I5D+r1xMph3neWicdUcR
YlmQKOMC
-----END CERTIFICATE-----
"""
CERTIFICATE_KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg1RqXSV3sRj7WNeE2
CCWq7quHcS5onE+skX5rgZ9LZ/ShRANCAAQk9feHPhsamaPRvlr3WkWnimj/Rjrf
tN9OqkvVSHvRHVqAvmJbeX9cYqDf6DVdOnxu8CwX9+89xZPMT1EZ8jNr
-----END PRIVATE KEY-----
"""
OTHER_CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBhTCCASugAwIBAgIUCGJBd0LXzdPrz5Y0rW4RrBr6KxEwCgYIKoZIzj0EAwIw
FzEVMBMGA1UEAwwMaHdsb29wLW90aGVyMCAXDTI2MTEyMzE1MTgwNVoYDzIxMjYx
MDMwMTUxODA1WjAXMRUwEwYDVQQDDAxod2xvb3Atb3RoZXIwWTATBgcqhkjOPQIB
BggqhkjOPQMBBwNCAATkVVla32GFIzyl6eZypiFib7wH3+JV0oESWxyJ3NrEryou
BF2UqdXiKfz/6UcPB2qd93nxkbwX8tEWoD7z9igVo1MwUTAdBgNVHQ4EFgQUTMKg
AU+xWqdEnXWG8lcbIWumCJAwHwYDVR0jBBgwFoAUTMKgAU+xWqdEnXWG8lcbIWum
CJAwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiAwN7D6K/rv20Rk
f78BG1RW8J2hysZQV9Y2k4yGZp5WgwIhAOR1XZaGMJew/AlSFmwUVd9hPJLRvtRr
NjLRvtQJbgzu
-----END CERTIFICATE-----
"""
OTHER_CERTIFICATE_KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgH2AQhKglyslBn7gl
saiAN3gPKTMX4J/hNhl07a3IKbihRANCAATkVVla32GFIzyl6eZypiFib7wH3+JV
0oESWxyJ3NrEryouBF2UqdXiKfz/6UcPB2qd93nxkbwX8tEWoD7z9igV
-----END PRIVATE KEY-----
"""
KEY = b"0123456789abcdef0123456789abcdef"


class Mirror(hwloop.Device):
    spec = DeviceSpec(2, 2)

    def _measure(self, inputs):
        return inputs[:, ::-1]


def written(path, text, mode=0o600):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


@pytest.fixture
def key_file(tmp_path):
    return written(tmp_path / "rig.key", KEY + b"\n")


@pytest.fixture
def security(tmp_path, key_file):
    certificate = written(tmp_path / "certificate.pem", CERTIFICATE)
    return ServerSecurity(key_file, certificate, written(tmp_path / "certificate-key.pem", CERTIFICATE_KEY))


@pytest.fixture
def secured(security):
    told = []
    with DeviceServer(Mirror, Address("127.0.0.1", 0), security, told.append) as server:
        server.told = told
        yield server


def test_a_client_with_the_key_measures(secured, key_file):
    with RemoteDevice(str(secured.address), key_file=key_file) as device:
        np.testing.assert_array_equal(device.measure([[0.25, 0.5]]), [[0.5, 0.25]])
        many = np.random.default_rng(0).random((50_000, 2))  # many records of TLS
        np.testing.assert_array_equal(device.measure(many), many[:, ::-1])


def test_a_wrong_key_is_refused(secured, tmp_path):
    wrong = written(tmp_path / "wrong.key", KEY[::-1])
    device = RemoteDevice(str(secured.address), key_file=wrong)
    with pytest.raises(ConfigError, match="the server's key is another one"):
        device.open()
    with pytest.raises(ConfigError):
        _ = device.spec
    assert any("was refused" in line for line in secured.told)


def test_a_client_without_a_key_gets_nothing(secured, monkeypatch):
    monkeypatch.setattr("hwloop.devices.remote.server.GREETING_SECONDS", 0.3)
    with pytest.raises(hwloop.DeviceDisconnected, match="if it asks for a key, give key_file"):
        RemoteDevice(str(secured.address)).open()


def test_a_client_under_tls_that_says_it_needs_no_key_is_refused(secured):
    stream = socket.create_connection((secured.address.host, secured.address.port), timeout=10)
    channel = Channel(stream)
    channel.secure(client_context(), 10, server=False)
    deadline = hwloop.deadline.Deadline.after(10)
    channel.receive(4096, deadline)
    channel.send({"op": "hello", "protocol": 1, "client": "ab" * 32, "name": "nobody", "nonce": "cd" * 32})
    header, _ = channel.receive(4096, deadline)
    assert (header["op"], header["kinds"][0]) == ("error", "ConfigError")
    with pytest.raises((EOFError, OSError)):
        channel.receive(4096, deadline)
    channel.close()


def test_a_server_without_a_key_is_not_trusted_with_one(key_file):
    with DeviceServer(Mirror, Address("127.0.0.1", 0)) as server:
        device = RemoteDevice(str(server.address), key_file=key_file)
        with pytest.raises(hwloop.DeviceDisconnected, match="speaks no TLS"):
            device.open()


def test_someone_in_between_with_a_certificate_of_his_own_is_noticed(secured, security, tmp_path, key_file):
    """He passes on every frame as it is, and so the proofs; they are for another certificate."""
    own = ServerSecurity(
        key_file,
        written(tmp_path / "other.pem", OTHER_CERTIFICATE),
        written(tmp_path / "other-key.pem", OTHER_CERTIFICATE_KEY),
    )
    listener = socket.create_server(("127.0.0.1", 0))

    def pass_on():
        deadline = hwloop.deadline.Deadline.after(10)
        victim = Channel(listener.accept()[0])
        victim.secure(own.context, 10, server=True)
        server = Channel(socket.create_connection((secured.address.host, secured.address.port), timeout=10))
        server.secure(client_context(), 10, server=False)
        victim.send(server.receive(4096, deadline)[0])
        server.send(victim.receive(4096, deadline)[0])
        victim.send(server.receive(4096, deadline)[0])
        victim.close()
        server.close()

    thread = threading.Thread(target=pass_on)
    thread.start()
    try:
        with pytest.raises(ConfigError, match="the server's key is another one"):
            RemoteDevice(f"127.0.0.1:{listener.getsockname()[1]}", key_file=key_file).open()
    finally:
        thread.join()
        listener.close()


def test_an_impostor_without_the_key_cannot_prove_it(security, key_file):
    listener = socket.create_server(("127.0.0.1", 0))

    def pretend():
        deadline = hwloop.deadline.Deadline.after(10)
        channel = Channel(listener.accept()[0])
        channel.secure(security.context, 10, server=True)
        channel.send({"op": "welcome", "protocol": 1, "nonce": new_nonce()})
        hello, _ = channel.receive(4096, deadline)
        channel.send({"op": "hello", "proof": hello["proof"]})  # the client's own, sent back
        channel.close()

    thread = threading.Thread(target=pretend)
    thread.start()
    try:
        with pytest.raises(ConfigError, match="does not have our key"):
            RemoteDevice(f"127.0.0.1:{listener.getsockname()[1]}", key_file=key_file).open()
    finally:
        thread.join()
        listener.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_another_address_needs_key_and_certificate(host):
    with pytest.raises(ConfigError, match="needs TLS and a key"):
        DeviceServer(Mirror, Address(host, 0))


def test_a_client_goes_to_another_computer_with_a_key_only():
    with pytest.raises(ConfigError, match="is another computer; give key_file"):
        RemoteDevice("192.0.2.1:4780").open()


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        (KEY, 0o604, "everybody may read"),
        (KEY, 0o640, "its group may read"),
        (KEY, 0o620, "its group"),
        (KEY[:31], 0o600, "31 characters"),
        (b"a" * 5000, 0o600, "random ones"),
    ],
)
def test_a_key_file_that_protects_nothing_is_refused(tmp_path, text, mode, words):
    with pytest.raises(ConfigError, match=words):
        read_key(written(tmp_path / "key", text, mode))
    with pytest.raises(ConfigError, match="cannot be read"):
        read_key(tmp_path / "absent")


def test_a_certificate_that_cannot_be_used_is_refused(tmp_path, key_file):
    good = written(tmp_path / "good.pem", CERTIFICATE)
    for certificate_key in (written(tmp_path / "a.pem", OTHER_CERTIFICATE_KEY), tmp_path / "absent", key_file):
        with pytest.raises(ConfigError, match="cannot be used"):
            ServerSecurity(key_file, good, certificate_key)


@given(st.binary(min_size=1), st.text(), st.text(), st.binary())
def test_a_proof_is_for_one_key_one_role_one_connection_and_one_certificate(key, ours, theirs, certificate):
    expected = proof(key, b"client", ours, theirs, certificate)
    assert is_proof(expected, expected)
    for other in (
        proof(key + b"x", b"client", ours, theirs, certificate),
        proof(key, b"server", ours, theirs, certificate),
        proof(key, b"client", ours + "0", theirs, certificate),
        proof(key, b"client", ours, theirs, certificate + b"0"),
        None,
        expected[:-1],
        b"",
    ):
        assert not is_proof(other, expected)


@given(st.text(max_size=30))
def test_whatever_is_no_address_is_refused(text):
    try:
        address = Address.parse(text)
    except ConfigError:
        return
    assert 0 <= address.port <= 65535
    assert Address.parse(str(address)) == address


def test_addresses():
    assert Address.parse("[::1]:4780") == Address("::1", 4780)
    assert str(Address("::1", 4780)) == "[::1]:4780"
    assert is_loopback("127.3.2.1")
    assert is_loopback("::1")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("10.0.0.1")
    for text in ("host", ":1", "::1:4780", "host:", "host:65536", "host:-1", "host: 1", "ho st:1", "host:¹"):
        with pytest.raises(ConfigError):
            Address.parse(text)
