//! Content of any size, read as it arrives.

use std::io::{self, Read};

use aws_sdk_s3::primitives::ByteStream;
use bytes::{Buf, Bytes};

use super::S3Store;
use crate::{account::Aws, error::AwsError};

/// The content of an object on its way.
pub(super) struct Reader {
    aws: Aws,
    target: String,
    body: ByteStream,
    piece: Bytes,
}

impl S3Store {
    pub(super) fn reader(&self, body: ByteStream) -> Reader {
        Reader { aws: self.aws.clone(), target: self.target(), body, piece: Bytes::new() }
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.aws.wait(self.body.next()) {
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(error)) => {
                    return Err(io::Error::other(AwsError::broken(self.target.as_str(), &error)));
                }
                None => return Ok(0),
            }
        }
        let count = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(buffer.get_mut(..count).unwrap_or_default());
        Ok(count)
    }
}
