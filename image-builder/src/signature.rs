//! The signatures of an EFI file: whether there are any, whose, and whether they are of these very bytes.
//!
//! A signature is a PKCS #7 message behind the file's last section, as in Microsoft's "Windows Authenticode Portable
//! Executable Signature Format". It holds the digest of the file without itself, and the signer's certificate. Both are
//! read here; that the digest was signed by the certificate's key, and that the certificate is one to be trusted, is for
//! firmware (or `sbverify`) to find out.

use std::ops::Range;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::efi::{self, EfiError};

/// Bytes of a WIN_CERTIFICATE header: length, revision, type.
const HEADER_BYTES: usize = 8;
/// WIN_CERT_TYPE_PKCS_SIGNED_DATA.
const TYPE_PKCS: u16 = 2;

/// One signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Signature {
    /// The SHA-256 digest that was signed, in hexadecimal.
    pub digest: String,
    /// Whether that is the digest of this file: if not, something was changed after signing.
    pub is_of_this_file: bool,
    /// SHA-256 fingerprints of the certificates in it, as `openssl x509 -fingerprint -sha256` prints them but without
    /// colons and in small letters.
    pub certificates: Vec<String>,
}

/// Why signatures cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not a UEFI application.
    #[error(transparent)]
    Efi(#[from] EfiError),
    /// They lie outside the file, or are none.
    #[error("damaged signature: {0}")]
    Damaged(&'static str),
}

/// Every signature of an EFI file; none, if it is not signed.
///
/// # Errors
/// If it is no EFI file, or what it holds as signatures are none.
pub fn signatures(efi: &[u8]) -> Result<Vec<Signature>, SignatureError> {
    let places = efi::signature_places(efi)?;
    let table = places.certificates.clone();
    if table.is_empty() {
        return Ok(Vec::new());
    }
    let mut rest = efi.get(table).ok_or(SignatureError::Damaged("it ends beyond the file"))?;
    let digest = hexadecimal(&digest(efi, &places));
    let mut signatures = Vec::new();
    while !rest.is_empty() {
        let header = rest.first_chunk::<HEADER_BYTES>().ok_or(SignatureError::Damaged("its header is cut short"))?;
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let body = rest.get(HEADER_BYTES..length).ok_or(SignatureError::Damaged("its length is wrong"))?;
        if u16::from_le_bytes([header[6], header[7]]) == TYPE_PKCS {
            signatures.push(read(body, &digest).ok_or(SignatureError::Damaged("not the PKCS #7 message expected"))?);
        }
        rest = rest.get(length.next_multiple_of(8)..).unwrap_or_default();
    }
    Ok(signatures)
}

/// The digest of what a signature covers: the file without its checksum and without its signatures. The sections of
/// our files follow each other in the file, so that the order in the file is the order of sections.
fn digest(efi: &[u8], places: &efi::SignaturePlaces) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut at = 0;
    for left_out in [&places.checksum, &places.directory, &places.certificates] {
        hash.update(&efi[at..left_out.start]);
        at = left_out.end;
    }
    hash.update(&efi[at..]);
    hash.finalize().into()
}

/// RFC 2315, 9.1: ContentInfo { signedData, [0] { SignedData { version, digestAlgorithms, contentInfo, certificates … } } }.
fn read(message: &[u8], file_digest: &str) -> Option<Signature> {
    let outer = Element::read(message)?.children();
    let signed = outer.get(1)?.children().first()?.children();
    // SpcIndirectDataContent { data, messageDigest { algorithm, digest } }.
    let content = signed.get(2)?.children().get(1)?.children().first()?.children();
    let digest = hexadecimal(content.get(1)?.children().get(1)?.body);
    let certificates = signed.get(3).filter(|element| element.tag == 0xa0)?.children();
    let fingerprints = certificates.iter().map(|certificate| hexadecimal(&Sha256::digest(certificate.whole)));
    Some(Signature { is_of_this_file: digest == file_digest, digest, certificates: fingerprints.collect() })
}

/// One element of DER (X.690): tag, length, contents.
struct Element<'a> {
    tag: u8,
    body: &'a [u8],
    whole: &'a [u8],
}

impl<'a> Element<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (tag, first) = (*bytes.first()?, *bytes.get(1)?);
        let body: Range<usize> = if first < 0x80 {
            2..2 + usize::from(first)
        } else {
            let count = usize::from(first & 0x7f);
            let start = 2 + count;
            let length = bytes.get(2..start).filter(|_| (1..=4).contains(&count))?;
            start..start.checked_add(length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))?
        };
        let whole = bytes.get(..body.end)?;
        Some(Self { tag, body: &whole[body], whole })
    }

    /// What a constructed element holds, up to the first thing that is no element.
    fn children(&self) -> Vec<Self> {
        let mut rest = self.body;
        std::iter::from_fn(|| {
            let child = Self::read(rest)?;
            rest = &rest[child.whole.len()..];
            Some(child)
        })
        .collect()
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
