// SPDX-License-Identifier: Apache-2.0
// FileDevice: a volume in a regular file (OPI's aio volume).
//
// Direct I/O where file system and block size allow it, else through the page cache. Flush means
// durable (fdatasync). A new file is sparse; discard punches holes. The device holds the file for
// itself (a lock that dies with the process), each channel has a descriptor of its own.
#pragma once

#include <memory>
#include <string>

#include "block/growing_device.h"
#include "reactor/io.h"

namespace remora::backends::file {

struct FileDeviceOptions {
    std::string name;
    core::Uuid uuid;
    std::string path;
    std::uint32_t block_size = 512;
    std::uint64_t size_bytes = 0;  ///< What the file must have; 0: any, but then it is there.
    bool create = false;           ///< Make it, of size_bytes, when it is not there.
};

class FileDevice final : public block::GrowingDevice {
  public:
    /// On the control reactor, where it also dies. A file that is missing is never made unless
    /// `create` says so: it would be an empty disk with the old one's identity. Errors: NotFound,
    /// PermissionDenied, FailedPrecondition (the file is in use), InvalidArgument (not a regular
    /// file, its size no multiple of the block size, or other than size_bytes when that is given).
    static core::Result<std::unique_ptr<FileDevice>> create(FileDeviceOptions options);

    core::Result<std::unique_ptr<block::Channel>> open_channel() override;
    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    FileDevice(FileDeviceOptions options,
               block::Geometry geometry,
               bool direct,
               std::unique_ptr<reactor::File> lock);
    core::Result<void> make_room(const block::Geometry& after) override {
        return lock_->grow(after.size_bytes());
    }

    std::string path_;
    bool direct_;
    std::unique_ptr<reactor::File> lock_;  // held open for its exclusive lock
};

}  // namespace remora::backends::file
