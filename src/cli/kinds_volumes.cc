// SPDX-License-Identifier: Apache-2.0
// Volumes of this daemon: in memory, in files, and those that keep nothing.
#include <array>

#include "cli/kinds.h"
#include "core/units.h"
#include "storage/backend_aio.pb.h"
#include "storage/backend_malloc.pb.h"
#include "storage/backend_null.pb.h"

namespace remora::cli {

namespace {

namespace opi = opi_api::storage::v1;

constexpr Flag kSize{"--size", "SIZE", "Size: 64M, 10G, 1T (binary units)", FlagType::Text, true};
constexpr Flag kBlockSize{"--block-size", "BYTES", "Bytes a block", FlagType::Text, false, "512"};
constexpr Flag kUuid{"--uuid", "UUID", "The identity that hosts see (default: a new one)"};
constexpr std::array kSizedFlags{kSize, kBlockSize, kUuid};
constexpr std::array kFileFlags{
    Flag{"--file", "PATH", "Absolute path on the daemon's machine", FlagType::Text, true},
    Flag{"--size", "SIZE", "Size, where the file is to be made or grown (default: the file's)"},
    kBlockSize, kUuid};

/// Sizes as blocks, which is how the API counts.
template <typename Volume>
void set_blocks(const Values& values, Volume& volume) {
    const std::uint64_t size = values.size("--size");
    const std::uint64_t block = values.size("--block-size");
    if (size == 0 || block == 0) {
        refuse_argument("--size " + values.text("--size") + " with --block-size " +
                        values.text("--block-size") +
                        " is no size a volume can have: use at least one block, such as 64M");
    }
    if (size % block != 0) {
        const std::uint64_t below = size / block * block;
        refuse_argument("--size " + values.text("--size") + " (" + std::to_string(size) +
                        " bytes) is not a multiple of the block size " + std::to_string(block) +
                        ": use " + (below == 0 ? "" : std::to_string(below) + " or ") +
                        std::to_string(below + block));
    }
    volume.set_block_size(static_cast<std::int64_t>(block));
    volume.set_blocks_count(static_cast<std::int64_t>(size / block));
}

template <typename Volume>
void build_sized(const Values& values, Message& resource) {
    auto& volume = as<Volume>(resource);
    set_blocks(values, volume);
    volume.set_uuid(values.text("--uuid"));
}

void build_file(const Values& values, Message& resource) {
    auto& volume = as<opi::AioVolume>(resource);
    if (values.given("--size")) {
        set_blocks(values, volume);
    } else {
        volume.set_block_size(static_cast<std::int64_t>(values.size("--block-size")));
    }
    volume.set_filename(values.text("--file"));
    volume.set_uuid(values.text("--uuid"));
}

template <typename Volume>
std::string size_text(const Message& message) {
    const auto& volume = as<Volume>(message);
    std::int64_t bytes = 0;
    if (__builtin_mul_overflow(volume.block_size(), volume.blocks_count(), &bytes) || bytes < 0) {
        return "?";
    }
    return core::format_size(static_cast<std::uint64_t>(bytes));
}

template <typename Volume>
std::string block_text(const Message& message) {
    return std::to_string(as<Volume>(message).block_size());
}

template <typename Volume>
std::string uuid_text(const Message& message) {
    return as<Volume>(message).uuid();
}

template <typename Volume>
constexpr std::array kColumns{Column{"SIZE", size_text<Volume>},
                              Column{"BLOCK", block_text<Volume>},
                              Column{"UUID", uuid_text<Volume>}};

constexpr std::array kFileColumns{
    Column{"SIZE", size_text<opi::AioVolume>}, Column{"BLOCK", block_text<opi::AioVolume>},
    Column{"UUID", uuid_text<opi::AioVolume>},
    Column{"FILE", [](const Message& m) { return as<opi::AioVolume>(m).filename(); }}};

constexpr std::array kChangeable{std::string_view("blocks_count")};

constexpr std::array kVolumes{Kind{.name = "malloc",
                                   .plural = "mallocs",
                                   .what = "a volume in the daemon's memory",
                                   .service = "opi_api.storage.v1.MallocVolumeService",
                                   .message = "MallocVolume",
                                   .collection = "volumes",
                                   .example = "disk0",
                                   .example_flags = "--size 64M",
                                   .columns = kColumns<opi::MallocVolume>,
                                   .flags = kSizedFlags,
                                   .build = build_sized<opi::MallocVolume>,
                                   .counters = Counters::Volume,
                                   .pattern = "mallocVolumes",
                                   .can_resize = true,
                                   .changeable = kChangeable},
                              Kind{.name = "null",
                                   .plural = "nulls",
                                   .what = "a volume that keeps nothing",
                                   .service = "opi_api.storage.v1.NullVolumeService",
                                   .message = "NullVolume",
                                   .collection = "volumes",
                                   .example = "null0",
                                   .example_flags = "--size 1G",
                                   .columns = kColumns<opi::NullVolume>,
                                   .flags = kSizedFlags,
                                   .build = build_sized<opi::NullVolume>,
                                   .counters = Counters::Volume,
                                   .pattern = "nullVolumes",
                                   .can_resize = true,
                                   .changeable = kChangeable},
                              Kind{.name = "aio",
                                   .plural = "aios",
                                   .what = "a volume in a file",
                                   .service = "opi_api.storage.v1.AioVolumeService",
                                   .message = "AioVolume",
                                   .collection = "volumes",
                                   .example = "file0",
                                   .example_flags = "--file /var/lib/remora/file0.img --size 10G",
                                   .columns = kFileColumns,
                                   .flags = kFileFlags,
                                   .build = build_file,
                                   .counters = Counters::Volume,
                                   .pattern = "aioVolumes",
                                   .can_resize = true,
                                   .changeable = kChangeable}};

}  // namespace

std::span<const Kind> volume_kinds() {
    return kVolumes;
}

}  // namespace remora::cli
