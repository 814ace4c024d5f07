//! The site's small CA: root, server and device certificates.
