// SPDX-License-Identifier: Apache-2.0
#include "backends/file/file_device.h"

#include "backends/file/file_channel.h"
#include "core/units.h"

namespace remora::backends::file {

core::Result<std::unique_ptr<FileDevice>> FileDevice::create(FileDeviceOptions options) {
    using core::ErrorKind;
    if (options.path.empty() || options.path.front() != '/') {
        return core::fail(ErrorKind::InvalidArgument,
                          "file '" + options.path + "' is not an absolute path");
    }
    block::Geometry geometry;
    geometry.block_size = options.block_size;
    geometry.block_count = 1;
    if (auto valid = block::check_geometry(geometry); !valid) {
        return std::unexpected(valid.error());
    }
    if (options.create_bytes % options.block_size != 0) {
        return core::fail(ErrorKind::InvalidArgument, "size " +
                                                          std::to_string(options.create_bytes) +
                                                          " is not a multiple of the block size " +
                                                          std::to_string(options.block_size));
    }
    reactor::FileOptions open;
    open.create = options.create_bytes > 0;
    open.size = options.create_bytes;
    auto file = reactor::Reactor::current().io().open_file(options.path, open);
    if (!file) {
        return std::unexpected(file.error());
    }
    const std::uint64_t size = (*file)->size();
    if (size == 0 || size % options.block_size != 0 ||
        (options.create_bytes != 0 && options.create_bytes != size)) {
        return core::fail(ErrorKind::InvalidArgument,
                          "file '" + options.path + "' has " + std::to_string(size) +
                              " bytes, which is not " +
                              (options.create_bytes != 0 ? std::to_string(options.create_bytes)
                                                         : "a multiple of the block size"));
    }
    geometry.block_count = size / options.block_size;
    geometry.can_discard = true;
    geometry.can_write_zeroes = true;
    geometry.volatile_cache = true;
    const bool direct = (*file)->offset_alignment() <= options.block_size;
    return std::unique_ptr<FileDevice>(
        new FileDevice(std::move(options), geometry, direct, std::move(*file)));
}

FileDevice::FileDevice(FileDeviceOptions options,
                       block::Geometry geometry,
                       bool direct,
                       std::unique_ptr<reactor::File> lock)
    : Device(std::move(options.name), options.uuid),
      path_(std::move(options.path)),
      geometry_(geometry),
      direct_(direct),
      lock_(std::move(lock)) {}

core::Result<std::unique_ptr<block::Channel>> FileDevice::open_channel() {
    reactor::FileOptions options;
    options.exclusive = false;
    options.direct = direct_;
    auto file = reactor::Reactor::current().io().open_file(path_, options);
    if (!file) {
        return std::unexpected(file.error());
    }
    return std::make_unique<FileChannel>(std::move(*file), geometry_);
}

}  // namespace remora::backends::file
