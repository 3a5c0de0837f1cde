// SPDX-License-Identifier: Apache-2.0
#include "backends/file/file_device.h"

#include "backends/file/file_channel.h"
#include "core/units.h"

namespace remora::backends::file {

namespace {

std::string missing(const std::string& path, std::uint64_t wanted) {
    const std::string what = "file '" + path + "' is not there";
    return wanted == 0 ? what + ": name its size to have it made"
                       : what + " and is not made anew, it would be an empty disk: bring it back " +
                             "(is its file system mounted?) and restart";
}

}  // namespace

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
    const std::uint64_t wanted = options.size_bytes;
    if (wanted % options.block_size != 0 || (options.create && wanted == 0)) {
        return core::fail(ErrorKind::InvalidArgument, "size " + std::to_string(wanted) +
                                                          " is not a multiple of the block size " +
                                                          std::to_string(options.block_size) +
                                                          " and greater than 0");
    }
    reactor::FileOptions open;
    open.create = options.create;
    open.size = wanted;
    auto file = reactor::Reactor::current().io().open_file(options.path, open);
    if (!file && file.error().kind == ErrorKind::NotFound && !options.create) {
        return core::fail(ErrorKind::NotFound, missing(options.path, wanted));
    }
    if (!file) {
        return std::unexpected(file.error());
    }
    const std::uint64_t size = (*file)->size();
    if (wanted != 0 && size != wanted) {
        return core::fail(ErrorKind::InvalidArgument,
                          "file '" + options.path + "' has " + std::to_string(size) +
                              " bytes and not the " + std::to_string(wanted) + " of this volume: " +
                              (options.create ? "name that size, or another file"
                                              : "bring the right file back and restart"));
    }
    if (size == 0 || size % options.block_size != 0) {
        return core::fail(ErrorKind::InvalidArgument,
                          "file '" + options.path + "' has " + std::to_string(size) +
                              " bytes, which is not a multiple of the block size " +
                              std::to_string(options.block_size) + " and greater than 0");
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
    : GrowingDevice(std::move(options.name), options.uuid, geometry),
      path_(std::move(options.path)),
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
    return std::make_unique<FileChannel>(std::move(*file), shown_geometry());
}

}  // namespace remora::backends::file
