// SPDX-License-Identifier: Apache-2.0
// Decoder of PDU headers: pure and total. Eight bytes of any content become either a frame whose
// sizes are all consistent and bounded, or the fault to put into a TermReq.
//
// Both roles use it: the rules say which way the PDU went and what was negotiated. It keeps no
// state; what may follow what is the connection's business.
#pragma once

#include <cstdint>
#include <cstring>
#include <expected>
#include <span>

#include "nvme/tcp/pdu.h"

namespace remora::nvme::tcp {

enum class Direction : std::uint8_t { ToController, ToHost };

/// Bytes before the data of any PDU: PDO is one byte.
constexpr std::size_t kMaxHeaderBlock = 256;

struct DecodeRules {
    Direction direction = Direction::ToController;
    bool header_digest = false;  ///< Negotiated; ICReq, ICResp and TermReq never carry digests.
    bool data_digest = false;
    std::uint32_t max_in_capsule = 0;  ///< Data bytes a CapsuleCmd may carry.
    std::uint32_t max_data = 0;        ///< Data bytes a H2CData or C2HData may carry.
};

/// Why a PDU ends the connection, as it goes into a TermReq.
struct Fault {
    FatalError status = FatalError::InvalidHeaderField;
    std::uint32_t information = 0;
    bool operator==(const Fault&) const = default;
};

/// A checked PDU's layout. header_block + data_size + (data_digest ? 4 : 0) == PLEN.
struct Frame {
    PduType type = PduType::IcReq;
    std::uint8_t flags = 0;
    std::uint32_t header_size = 0;   ///< HLEN.
    std::uint32_t header_block = 0;  ///< Bytes before the data: header, digest, pad.
    std::uint32_t data_size = 0;     ///< Without the digest.
    bool header_digest = false;      ///< Follows the header.
    bool data_digest = false;        ///< Follows the data; false without data.
};

/// Checks a common header against the rules. Never reads anything else.
std::expected<Frame, Fault> decode_frame(const CommonHeader& header, const DecodeRules& rules);

/// The frame of one PDU after the other, by a connection's rules. The common headers of a busy
/// connection are mostly the same eight bytes: those are not decoded again.
class FrameDecoder {
  public:
    [[nodiscard]] const DecodeRules& rules() const { return rules_; }
    /// To change them.
    DecodeRules& new_rules() {
        known_ = false;
        return rules_;
    }
    /// `header`: the eight bytes of a common header. After an error frame() is that of none.
    std::expected<void, Fault> decode(const std::byte* header) {
        std::uint64_t bytes = 0;
        std::memcpy(&bytes, header, sizeof(bytes));
        if (known_ && bytes == seen_) [[likely]] {
            return {};
        }
        return decode_anew(bytes);
    }
    /// Of the PDU that was decoded last.
    [[nodiscard]] const Frame& frame() const { return frame_; }

  private:
    std::expected<void, Fault> decode_anew(std::uint64_t bytes);

    DecodeRules rules_;
    Frame frame_;
    std::uint64_t seen_ = 0;
    bool known_ = false;  // frame_ is of seen_, by these rules
};

/// Checks the parameters of an ICReq whose frame is good.
std::expected<void, Fault> check_ic_req(const IcReq& request);
/// Checks the parameters of an ICResp against what was asked (`dgst` of the ICReq).
std::expected<void, Fault> check_ic_resp(const IcResp& response, std::uint8_t asked_dgst);
/// DATAL must be what the frame carries. The range check needs the command, which the caller has.
std::expected<void, Fault> check_data_pdu(const DataPdu& pdu, const Frame& frame);

/// Whether the digest behind a header of `header_size` bytes matches. `block` starts at the header.
/// The digest that was received is the fault's information.
std::expected<void, Fault> check_header_digest(std::span<const std::byte> block,
                                               std::uint32_t header_size);

}  // namespace remora::nvme::tcp
