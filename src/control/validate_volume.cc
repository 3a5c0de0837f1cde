// SPDX-License-Identifier: Apache-2.0
#include "control/validate_volume.h"

#include <limits>

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;

namespace {

constexpr std::int64_t kSmallestBlock = 512;
constexpr std::int64_t kLargestBlock = 4096;

Result<void> check_size(std::int64_t block_size, std::int64_t blocks_count) {
    // The range first: what follows does not hold for the least number of all.
    if (block_size < kSmallestBlock || block_size > kLargestBlock ||
        (block_size & (block_size - 1)) != 0) {
        return fail(ErrorKind::InvalidArgument, "block_size: " + std::to_string(block_size) +
                                                    " is not 512, 1024, 2048 or 4096");
    }
    if (blocks_count < 0 || blocks_count > std::numeric_limits<std::int64_t>::max() / block_size) {
        return fail(ErrorKind::InvalidArgument,
                    "blocks_count: " + std::to_string(blocks_count) +
                        " blocks are no size a volume can have; use 1 to 2^63 bytes in all");
    }
    return {};
}

template <typename M>
Result<void> check_common(const M& volume) {
    if (auto size = check_size(volume.block_size(), volume.blocks_count()); !size) {
        return size;
    }
    if (auto uuid = read_uuid("uuid", volume.uuid()); !uuid) {
        return std::unexpected(uuid.error());
    }
    return {};
}

}  // namespace

Result<core::Uuid> read_uuid(std::string_view field, const std::string& text) {
    if (text.empty()) {
        return core::Uuid{};
    }
    const auto uuid = core::Uuid::parse(text);
    if (!uuid || uuid->is_nil()) {
        return fail(ErrorKind::InvalidArgument,
                    std::string(field) + ": \"" + text +
                        "\" is not a UUID like 2f6e1f4c-8d53-4c8e-9d0a-3f5b1c7a9e10");
    }
    return *uuid;
}

Result<void> validate(const opi::MallocVolume& volume) {
    if (volume.metadata_size() != 0) {
        return fail(ErrorKind::Unimplemented,
                    "metadata_size: volumes have no metadata beside the data; use 0");
    }
    return check_common(volume);
}

Result<void> validate(const opi::NullVolume& volume) {
    return check_common(volume);
}

Result<void> validate(const opi::AioVolume& volume) {
    if (!volume.filename().starts_with('/') || volume.filename().find('\0') != std::string::npos) {
        return fail(ErrorKind::InvalidArgument,
                    "filename: \"" + volume.filename() + "\" is not an absolute path");
    }
    opi::AioVolume sized = volume;
    if (sized.block_size() == 0) {
        sized.set_block_size(kSmallestBlock);
    }
    return check_common(sized);
}

}  // namespace remora::control
