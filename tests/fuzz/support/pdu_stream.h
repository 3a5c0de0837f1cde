// SPDX-License-Identifier: Apache-2.0
// PduStream: what one side of an NVMe/TCP connection says, cut into PDUs. It is used on what the
// code under test sends, so a PDU that breaks the rules aborts: that is a finding.
#pragma once

#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "core/byte_reader.h"
#include "core/check.h"
#include "nvme/tcp/decoder.h"
#include "nvme/tcp/digest.h"
#include "nvme/tcp/pdu.h"

namespace remora::fuzz {

struct Pdu {
    nvme::tcp::Frame frame;
    std::vector<std::byte> bytes;  ///< Header block, data and digest.

    template <typename T>
    [[nodiscard]] T as() const {
        CHECK(bytes.size() >= sizeof(T));
        T out;
        std::memcpy(&out, bytes.data(), sizeof(T));
        return out;
    }
    [[nodiscard]] std::span<const std::byte> data() const {
        return std::span(bytes).subspan(frame.header_block, frame.data_size);
    }
};

class PduStream {
  public:
    explicit PduStream(nvme::tcp::Direction direction) {
        rules.direction = direction;
        rules.max_in_capsule = rules.max_data = std::uint32_t{1} << 20U;
    }

    void feed(std::span<const std::byte> bytes) {
        bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    }
    [[nodiscard]] bool empty() const { return bytes_.empty(); }

    std::optional<Pdu> next() {
        using nvme::tcp::CommonHeader;
        if (bytes_.size() < sizeof(CommonHeader)) {
            return std::nullopt;
        }
        CommonHeader header;
        std::memcpy(&header, bytes_.data(), sizeof(header));
        const auto frame = nvme::tcp::decode_frame(header, rules);
        CHECK(frame.has_value());
        const std::uint32_t size = header.plen;
        CHECK(size == frame->header_block + frame->data_size + (frame->data_digest ? 4U : 0U));
        if (bytes_.size() < size) {
            return std::nullopt;
        }
        Pdu pdu{.frame = *frame, .bytes = {bytes_.begin(), bytes_.begin() + size}};
        bytes_.erase(bytes_.begin(), bytes_.begin() + size);
        check_digests(pdu);
        return pdu;
    }

    nvme::tcp::DecodeRules rules;

  private:
    static void check_digests(const Pdu& pdu) {
        const std::span<const std::byte> bytes(pdu.bytes);
        if (pdu.frame.header_digest) {
            CHECK(nvme::tcp::check_header_digest(bytes, pdu.frame.header_size).has_value());
        }
        if (pdu.frame.data_digest) {
            const auto digest = bytes.last(nvme::tcp::kDigestBytes);
            CHECK(nvme::tcp::load_digest(digest) == core::crc32c(pdu.data()));
        }
    }

    std::vector<std::byte> bytes_;
};

/// A PDU whose sizes and digests are right: `header` starts with a CommonHeader whose type and
/// flags are given.
inline std::vector<std::byte> make_pdu(std::span<const std::byte> header,
                                       std::span<const std::byte> data,
                                       bool header_digest,
                                       bool data_digest) {
    using nvme::tcp::CommonHeader;
    std::vector<std::byte> out(header.begin(), header.end());
    CommonHeader common;
    CHECK(out.size() >= sizeof(common));
    std::memcpy(&common, out.data(), sizeof(common));
    const std::size_t block = header.size() + (header_digest ? 4U : 0U);
    data_digest = data_digest && !data.empty();
    common.hlen = static_cast<std::uint8_t>(header.size());
    common.pdo = static_cast<std::uint8_t>(data.empty() ? 0 : block);
    common.plen = static_cast<std::uint32_t>(block + data.size() + (data_digest ? 4U : 0U));
    common.flags =
        static_cast<std::uint8_t>(common.flags | (header_digest ? nvme::tcp::kHeaderDigest : 0) |
                                  (data_digest ? nvme::tcp::kDataDigest : 0));
    std::memcpy(out.data(), &common, sizeof(common));
    out.resize(block);
    if (header_digest) {
        nvme::tcp::seal_header(out, header.size());
    }
    out.insert(out.end(), data.begin(), data.end());
    if (data_digest) {
        out.resize(out.size() + nvme::tcp::kDigestBytes);
        nvme::tcp::store_digest(std::span(out).last(nvme::tcp::kDigestBytes), core::crc32c(data));
    }
    return out;
}

}  // namespace remora::fuzz
