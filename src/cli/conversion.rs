//! The options that change the form of an image on the way.

use clap::{Args, ValueEnum};

use crate::convert::{Compression, Conversion, Format};

/// What an image is changed to.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Conversion")]
pub(super) struct ConversionArguments {
    /// Write manifests and indexes in this format; the configuration keeps its bytes, the image its ID
    #[arg(long, value_name = "FORMAT", value_enum)]
    format: Option<FormatArgument>,

    /// Compress layers with none, gzip or zstd, with a level if wanted: zstd:19
    ///
    /// Layers that are compressed like that stay as they are, whatever their level. The same layer
    /// always becomes the same bytes. The others lie in the directory for temporary files (TMPDIR)
    /// until they are sent.
    #[arg(long, value_name = "ALGORITHM[:LEVEL]")]
    compression: Option<Compression>,

    /// Leave out what the format cannot express: annotations and attestations in Docker's
    #[arg(long, requires = "format")]
    leave_out_unsupported: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatArgument {
    /// OCI image specification
    Oci,
    /// Docker image manifest version 2, schema 2
    Docker,
}

impl ConversionArguments {
    pub(super) fn conversion(self) -> Conversion {
        Conversion {
            format: match self.format {
                None => Format::Preserve,
                Some(FormatArgument::Oci) => Format::Oci,
                Some(FormatArgument::Docker) => Format::Docker,
            },
            compression: self.compression,
            leave_out_unsupported: self.leave_out_unsupported,
        }
    }
}
