import datetime as dt
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509

from facetrain.local import certificates
from facetrain.local.certificates import LIFETIME, RENEW_BEFORE, TlsFiles

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    made = TlsFiles.below(tmp_path)
    certificates.make(made, NOW)
    return made


def test_the_certificate_is_for_this_machine_alone(files: TlsFiles) -> None:
    server = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["localhost", "127.0.0.1"]
    authority = x509.load_pem_x509_certificate(files.authority.read_bytes())
    limits = authority.extensions.get_extension_for_class(x509.NameConstraints)
    assert limits.critical


def test_the_strictest_client_trusts_it(tmp_path: Path) -> None:
    """A handshake in memory with every check that Python knows, hostname and all."""
    files = TlsFiles.below(tmp_path)
    certificates.make(files, dt.datetime.now(dt.UTC))
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(files.certificate, files.key)
    trusting = ssl.create_default_context(cafile=str(files.authority))
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT
    for name in ("localhost", "127.0.0.1"):
        _shake_hands(serving, trusting, name)
    with pytest.raises(ssl.SSLCertVerificationError):
        _shake_hands(serving, trusting, "example.com")


def _shake_hands(serving: ssl.SSLContext, trusting: ssl.SSLContext, name: str) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server, server_hostname=name)
    server = serving.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    assert client.version() is not None
    assert client.getpeercert()


def test_the_private_key_is_for_its_owner_alone(files: TlsFiles) -> None:
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600


def test_a_certificate_is_fresh_until_a_month_before_it_ends(files: TlsFiles) -> None:
    assert certificates.is_fresh(files, NOW)
    assert certificates.is_fresh(files, NOW + LIFETIME - RENEW_BEFORE - dt.timedelta(hours=1))
    assert not certificates.is_fresh(files, NOW + LIFETIME - RENEW_BEFORE)


def test_files_that_do_not_belong_together_are_not_fresh(files: TlsFiles, tmp_path: Path) -> None:
    other = TlsFiles.below(tmp_path / "other")
    (tmp_path / "other").mkdir()
    certificates.make(other, NOW)
    assert not certificates.is_fresh(TlsFiles(other.authority, files.certificate, files.key), NOW)
    assert not certificates.is_fresh(TlsFiles(files.authority, files.certificate, other.key), NOW)
    files.key.write_text("torn")
    assert not certificates.is_fresh(files, NOW)
    assert not certificates.is_fresh(TlsFiles.below(tmp_path / "nothing"), NOW)
