// SPDX-License-Identifier: Apache-2.0
#include "nvme/tcp/decoder.h"

#include <cstring>

#include "nvme/tcp/digest.h"

namespace remora::nvme::tcp {

namespace {

using Decoded = std::expected<Frame, Fault>;

std::unexpected<Fault> bad_field(std::size_t offset) {
    return std::unexpected(
        Fault{FatalError::InvalidHeaderField, static_cast<std::uint32_t>(offset)});
}

constexpr std::size_t kOffType = offsetof(CommonHeader, type);
constexpr std::size_t kOffFlags = offsetof(CommonHeader, flags);
constexpr std::size_t kOffHlen = offsetof(CommonHeader, hlen);
constexpr std::size_t kOffPdo = offsetof(CommonHeader, pdo);
constexpr std::size_t kOffPlen = offsetof(CommonHeader, plen);

/// A type's fixed properties.
struct Shape {
    Direction direction;
    std::uint8_t header_size;
    bool digests;        ///< Negotiated digests apply.
    std::uint8_t flags;  ///< Flags the type knows beside the digest flags.
    std::uint32_t data_min;
    std::uint32_t data_max;
};

/// False for a type this protocol does not have.
bool shape_of(std::uint8_t type, const DecodeRules& rules, Shape& shape) {
    using enum Direction;
    switch (static_cast<PduType>(type)) {
        case PduType::IcReq:
            shape = {ToController, sizeof(IcReq), false, 0, 0, 0};
            return true;
        case PduType::IcResp:
            shape = {ToHost, sizeof(IcResp), false, 0, 0, 0};
            return true;
        case PduType::H2cTermReq:
            shape = {ToController, sizeof(TermReq), false, 0, 0, kTermReqMaxData};
            return true;
        case PduType::C2hTermReq:
            shape = {ToHost, sizeof(TermReq), false, 0, 0, kTermReqMaxData};
            return true;
        case PduType::CapsuleCmd:
            shape = {ToController, sizeof(CapsuleCmd), true, 0, 0, rules.max_in_capsule};
            return true;
        case PduType::CapsuleResp:
            shape = {ToHost, sizeof(CapsuleResp), true, 0, 0, 0};
            return true;
        case PduType::H2cData:
            shape = {ToController, sizeof(DataPdu), true, kLastPdu, 1, rules.max_data};
            return true;
        case PduType::C2hData:
            shape = {ToHost, sizeof(DataPdu), true, kLastPdu | kSuccess, 1, rules.max_data};
            return true;
        case PduType::R2t:
            shape = {ToHost, sizeof(R2t), true, 0, 0, 0};
            return true;
    }
    return false;
}

/// The part of a PDU behind its header: where the data starts and how much there is.
Decoded decode_data(const CommonHeader& header, const Shape& shape, Frame frame, bool data_digest) {
    const std::uint32_t plen = header.plen;
    if (!shape.digests) {
        // TermReq: the data follows the header; PDO is reserved.
        frame.data_size = plen - frame.header_size;
        return frame.data_size > shape.data_max ? Decoded(bad_field(kOffPlen)) : Decoded(frame);
    }
    const std::uint32_t pdo = header.pdo;
    // NVMe/TCP Transport Specification 1.0 §3.6: PDO is a multiple of 4 and behind the header.
    if (pdo < frame.header_block || pdo % 4 != 0 || pdo > plen) {
        return bad_field(kOffPdo);
    }
    const std::uint32_t digest = data_digest ? kDigestBytes : 0;
    if (plen - pdo <= digest) {
        return bad_field(kOffPlen);
    }
    if (((header.flags & kDataDigest) != 0) != data_digest) {
        return bad_field(kOffFlags);
    }
    frame.header_block = pdo;
    frame.data_size = plen - pdo - digest;
    frame.data_digest = data_digest;
    if (frame.data_size > shape.data_max) {
        return std::unexpected(Fault{FatalError::DataLimitExceeded, 0});
    }
    return frame;
}

}  // namespace

std::expected<Frame, Fault> decode_frame(const CommonHeader& header, const DecodeRules& rules) {
    Shape shape{};
    if (!shape_of(header.type, rules, shape) || shape.direction != rules.direction) {
        return bad_field(kOffType);
    }
    if (header.hlen != shape.header_size) {
        return bad_field(kOffHlen);
    }
    const bool header_digest = shape.digests && rules.header_digest;
    const bool data_digest = shape.digests && rules.data_digest;
    if (((header.flags & kHeaderDigest) != 0) != header_digest) {
        return bad_field(kOffFlags);
    }
    if ((header.flags & ~(kHeaderDigest | kDataDigest | shape.flags)) != 0) {
        return bad_field(kOffFlags);
    }
    Frame frame{.type = static_cast<PduType>(header.type),
                .flags = header.flags,
                .header_size = shape.header_size,
                .header_block = shape.header_size +
                                (header_digest ? static_cast<std::uint32_t>(kDigestBytes) : 0U),
                .data_size = 0,
                .header_digest = header_digest,
                .data_digest = false};
    if (header.plen < frame.header_block) {
        return bad_field(kOffPlen);
    }
    if (header.plen > frame.header_block) {
        // Types without data end exactly here.
        return shape.data_max == 0 ? std::expected<Frame, Fault>(bad_field(kOffPlen))
                                   : decode_data(header, shape, frame, data_digest);
    }
    if (shape.data_min > 0) {
        return bad_field(kOffPlen);
    }
    return frame;
}

std::expected<void, Fault> FrameDecoder::decode_anew(std::uint64_t bytes) {
    CommonHeader header;
    static_assert(sizeof(header) == sizeof(bytes));
    std::memcpy(&header, &bytes, sizeof(header));
    known_ = false;
    const auto frame = decode_frame(header, rules_);
    if (!frame) {
        return std::unexpected(frame.error());
    }
    frame_ = *frame;
    seen_ = bytes;
    known_ = true;
    return {};
}

std::expected<void, Fault> check_ic_req(const IcReq& request) {
    if (request.pfv != 0) {
        return std::unexpected(Fault{FatalError::UnsupportedParameter, offsetof(IcReq, pfv)});
    }
    if (request.hpda > kMaxAlignment) {
        return bad_field(offsetof(IcReq, hpda));
    }
    return {};
}

std::expected<void, Fault> check_ic_resp(const IcResp& response, std::uint8_t asked_dgst) {
    if (response.pfv != 0) {
        return std::unexpected(Fault{FatalError::UnsupportedParameter, offsetof(IcResp, pfv)});
    }
    if (response.cpda > kMaxAlignment) {
        return bad_field(offsetof(IcResp, cpda));
    }
    if ((response.dgst & ~asked_dgst) != 0) {
        return bad_field(offsetof(IcResp, dgst));
    }
    if (response.maxh2cdata < kMinMaxH2cData || response.maxh2cdata % 4 != 0) {
        return bad_field(offsetof(IcResp, maxh2cdata));
    }
    return {};
}

std::expected<void, Fault> check_data_pdu(const DataPdu& pdu, const Frame& frame) {
    if (pdu.datal != frame.data_size) {
        return bad_field(offsetof(DataPdu, datal));
    }
    return {};
}

std::expected<void, Fault> check_header_digest(std::span<const std::byte> block,
                                               std::uint32_t header_size) {
    const std::uint32_t received = load_digest(block.subspan(header_size));
    if (received != core::crc32c(block.first(header_size))) {
        return std::unexpected(Fault{FatalError::HeaderDigestError, received});
    }
    return {};
}

}  // namespace remora::nvme::tcp
