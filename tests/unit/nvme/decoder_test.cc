// SPDX-License-Identifier: Apache-2.0
// The PDU decoder: golden bytes of every type, and a refusal for every rule.
#include "nvme/tcp/decoder.h"

#include <array>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "core/byte_reader.h"
#include "core/prng.h"
#include "nvme/tcp/digest.h"

namespace remora::nvme::tcp {
namespace {

constexpr DecodeRules kToController{.direction = Direction::ToController,
                                    .header_digest = false,
                                    .data_digest = false,
                                    .max_in_capsule = 16384,
                                    .max_data = 262144};
constexpr DecodeRules kToHost{.direction = Direction::ToHost,
                              .header_digest = false,
                              .data_digest = false,
                              .max_in_capsule = 0,
                              .max_data = 262144};

CommonHeader header(
    PduType type, std::uint8_t flags, std::uint8_t hlen, std::uint8_t pdo, std::uint32_t plen) {
    return {static_cast<std::uint8_t>(type), flags, hlen, pdo, plen};
}

CommonHeader from_bytes(const std::array<unsigned char, 8>& bytes) {
    CommonHeader out;
    std::memcpy(&out, bytes.data(), sizeof(out));
    return out;
}

Fault fault_of(const CommonHeader& in, const DecodeRules& rules) {
    const auto frame = decode_frame(in, rules);
    EXPECT_FALSE(frame.has_value());
    return frame.has_value() ? Fault{} : frame.error();
}

TEST(Decoder_golden, ic_req_is_128_bytes_without_digests) {
    // type 00, flags 00, hlen 128, pdo 0, plen 128
    const auto frame = decode_frame(from_bytes({0, 0, 0x80, 0, 0x80, 0, 0, 0}), kToController);
    ASSERT_TRUE(frame.has_value());
    EXPECT_EQ(frame->type, PduType::IcReq);
    EXPECT_EQ(frame->header_block, 128U);
    EXPECT_EQ(frame->data_size, 0U);
}

TEST(Decoder_golden, capsule_with_4k_in_capsule_and_both_digests) {
    // type 04, flags HDGSTF|DDGSTF, hlen 72, pdo 76, plen 76 + 4096 + 4 = 4176 = 0x1050
    DecodeRules rules = kToController;
    rules.header_digest = true;
    rules.data_digest = true;
    const auto frame = decode_frame(from_bytes({0x04, 0x03, 0x48, 0x4c, 0x50, 0x10, 0, 0}), rules);
    ASSERT_TRUE(frame.has_value());
    EXPECT_EQ(frame->header_size, 72U);
    EXPECT_EQ(frame->header_block, 76U);
    EXPECT_EQ(frame->data_size, 4096U);
    EXPECT_TRUE(frame->header_digest);
    EXPECT_TRUE(frame->data_digest);
}

TEST(Decoder_golden, capsule_without_data_has_no_data_digest) {
    DecodeRules rules = kToController;
    rules.data_digest = true;
    const auto frame = decode_frame(header(PduType::CapsuleCmd, 0, 72, 0, 72), rules);
    ASSERT_TRUE(frame.has_value());
    EXPECT_FALSE(frame->data_digest);
}

TEST(Decoder_golden, c2h_data_with_pad_last_and_success) {
    // type 07, flags LAST|SUCCESS, hlen 24, pdo 64, plen 64 + 512 = 576 = 0x240
    const auto frame =
        decode_frame(from_bytes({0x07, 0x0c, 0x18, 0x40, 0x40, 0x02, 0, 0}), kToHost);
    ASSERT_TRUE(frame.has_value());
    EXPECT_EQ(frame->header_block, 64U);
    EXPECT_EQ(frame->data_size, 512U);
    EXPECT_EQ(frame->flags, kLastPdu | kSuccess);
}

TEST(Decoder_golden, term_req_carries_up_to_128_bytes) {
    const auto frame = decode_frame(header(PduType::C2hTermReq, 0, 24, 0, 24 + 128), kToHost);
    ASSERT_TRUE(frame.has_value());
    EXPECT_EQ(frame->data_size, 128U);
}

TEST(Decoder_golden, r2t_and_response_are_24_bytes) {
    EXPECT_TRUE(decode_frame(header(PduType::R2t, 0, 24, 0, 24), kToHost).has_value());
    EXPECT_TRUE(decode_frame(header(PduType::CapsuleResp, 0, 24, 0, 24), kToHost).has_value());
}

TEST(Decoder_refusal, unknown_type_names_the_type) {
    for (const unsigned type : {0x08U, 0x0aU, 0x7fU, 0xffU}) {
        const CommonHeader in{static_cast<std::uint8_t>(type), 0, 24, 0, 24};
        EXPECT_EQ(fault_of(in, kToHost), (Fault{FatalError::InvalidHeaderField, 0}));
        EXPECT_EQ(fault_of(in, kToController), (Fault{FatalError::InvalidHeaderField, 0}));
    }
}

TEST(Decoder_refusal, wrong_direction_names_the_type) {
    EXPECT_EQ(fault_of(header(PduType::R2t, 0, 24, 0, 24), kToController),
              (Fault{FatalError::InvalidHeaderField, 0}));
    EXPECT_EQ(fault_of(header(PduType::IcReq, 0, 128, 0, 128), kToHost),
              (Fault{FatalError::InvalidHeaderField, 0}));
}

TEST(Decoder_refusal, wrong_hlen_names_hlen) {
    EXPECT_EQ(fault_of(header(PduType::CapsuleCmd, 0, 71, 0, 72), kToController),
              (Fault{FatalError::InvalidHeaderField, 2}));
    EXPECT_EQ(fault_of(header(PduType::IcReq, 0, 8, 0, 128), kToController),
              (Fault{FatalError::InvalidHeaderField, 2}));
}

TEST(Decoder_refusal, digest_flags_must_be_what_was_negotiated) {
    EXPECT_EQ(fault_of(header(PduType::CapsuleCmd, kHeaderDigest, 72, 0, 76), kToController),
              (Fault{FatalError::InvalidHeaderField, 1}));
    EXPECT_EQ(fault_of(header(PduType::H2cData, kDataDigest, 24, 24, 24 + 516), kToController),
              (Fault{FatalError::InvalidHeaderField, 1}));
    DecodeRules digests = kToController;
    digests.header_digest = true;
    EXPECT_EQ(fault_of(header(PduType::CapsuleCmd, 0, 72, 0, 72), digests),
              (Fault{FatalError::InvalidHeaderField, 1}));
}

TEST(Decoder_refusal, unknown_flags_are_named) {
    EXPECT_EQ(fault_of(header(PduType::CapsuleCmd, 0x80, 72, 0, 72), kToController),
              (Fault{FatalError::InvalidHeaderField, 1}));
    EXPECT_EQ(fault_of(header(PduType::H2cData, kSuccess, 24, 24, 536), kToController),
              (Fault{FatalError::InvalidHeaderField, 1}));
}

TEST(Decoder_refusal, plen_shorter_than_header_names_plen) {
    for (const std::uint32_t plen : {0U, 7U, 8U, 71U}) {
        EXPECT_EQ(fault_of(header(PduType::CapsuleCmd, 0, 72, 0, plen), kToController),
                  (Fault{FatalError::InvalidHeaderField, 4}));
    }
}

TEST(Decoder_refusal, pdo_before_data_or_unaligned_or_past_the_end_names_pdo) {
    for (const unsigned pdo : {0U, 8U, 68U, 74U, 252U}) {
        const auto in =
            header(PduType::CapsuleCmd, 0, 72, static_cast<std::uint8_t>(pdo), 72 + 100);
        EXPECT_EQ(fault_of(in, kToController), (Fault{FatalError::InvalidHeaderField, 3})) << pdo;
    }
}

TEST(Decoder_refusal, data_pdu_without_data_names_plen) {
    EXPECT_EQ(fault_of(header(PduType::H2cData, 0, 24, 24, 24), kToController),
              (Fault{FatalError::InvalidHeaderField, 4}));
    EXPECT_EQ(fault_of(header(PduType::C2hData, 0, 24, 28, 28), kToHost),
              (Fault{FatalError::InvalidHeaderField, 4}));
}

TEST(Decoder_refusal, more_data_than_allowed_is_the_limit_error) {
    EXPECT_EQ(fault_of(header(PduType::CapsuleCmd, 0, 72, 72, 72 + 16385), kToController).status,
              FatalError::DataLimitExceeded);
    EXPECT_EQ(fault_of(header(PduType::H2cData, 0, 24, 24, 0xffffffffU), kToController).status,
              FatalError::DataLimitExceeded);
}

TEST(Decoder_refusal, term_req_longer_than_152_names_plen) {
    EXPECT_EQ(fault_of(header(PduType::H2cTermReq, 0, 24, 0, 153), kToController),
              (Fault{FatalError::InvalidHeaderField, 4}));
}

TEST(Decoder_property, any_eight_bytes_give_a_bounded_frame_or_a_fault) {
    core::Prng prng(7);
    for (int i = 0; i < 200000; ++i) {
        const std::uint64_t word = prng.next();
        CommonHeader in;
        std::memcpy(&in, &word, sizeof(in));
        in.type = static_cast<std::uint8_t>(in.type & 0x0fU);
        DecodeRules rules = (word & 1U) != 0 ? kToController : kToHost;
        rules.header_digest = (word & 2U) != 0;
        rules.data_digest = (word & 4U) != 0;
        if ((word & 8U) != 0) {
            in.hlen = (word & 16U) != 0 ? 72 : 24;
            in.flags = static_cast<std::uint8_t>((word >> 5U) & 3U);
            in.plen = in.plen & 0x1ffU;
        }
        const auto frame = decode_frame(in, rules);
        if (frame.has_value()) {
            ASSERT_LT(frame->header_block, kMaxHeaderBlock);
            ASSERT_LE(frame->header_size, frame->header_block);
            ASSERT_LE(frame->data_size, 262144U);
            ASSERT_EQ(std::uint64_t{frame->header_block} + frame->data_size +
                          (frame->data_digest ? kDigestBytes : 0U),
                      in.plen.get());
        }
    }
}

TEST(Handshake_checks, bad_parameters_name_their_field) {
    IcReq request{};
    EXPECT_TRUE(check_ic_req(request).has_value());
    request.hpda = 32;
    EXPECT_EQ(check_ic_req(request).error(), (Fault{FatalError::InvalidHeaderField, 10}));
    request.hpda = 0;
    request.pfv = 1;
    EXPECT_EQ(check_ic_req(request).error(), (Fault{FatalError::UnsupportedParameter, 8}));

    IcResp response{};
    response.maxh2cdata = 4096;
    EXPECT_TRUE(check_ic_resp(response, 0).has_value());
    response.maxh2cdata = 4095;
    EXPECT_EQ(check_ic_resp(response, 0).error(), (Fault{FatalError::InvalidHeaderField, 12}));
    response.maxh2cdata = 4096;
    response.dgst = kDgstData;
    EXPECT_EQ(check_ic_resp(response, kDgstHeader).error(),
              (Fault{FatalError::InvalidHeaderField, 11}));
    EXPECT_TRUE(check_ic_resp(response, kDgstData).has_value());
    response.cpda = 32;
    EXPECT_EQ(check_ic_resp(response, kDgstData).error(),
              (Fault{FatalError::InvalidHeaderField, 10}));
}

TEST(Data_pdu, datal_must_be_what_the_pdu_carries) {
    DataPdu pdu{};
    pdu.datal = 512;
    Frame frame{};
    frame.data_size = 512;
    EXPECT_TRUE(check_data_pdu(pdu, frame).has_value());
    frame.data_size = 508;
    EXPECT_EQ(check_data_pdu(pdu, frame).error(), (Fault{FatalError::InvalidHeaderField, 16}));
}

TEST(Header_digest, sealed_header_checks_and_a_flipped_bit_does_not) {
    struct {
        CapsuleResp pdu;
        le32 digest;
    } sealed{};
    sealed.pdu.header = header(PduType::CapsuleResp, kHeaderDigest, 24, 0, 28);
    sealed.pdu.completion.cid = 0x1234;
    seal_header(core::as_writable_bytes_of(sealed), sizeof(CapsuleResp));

    EXPECT_TRUE(check_header_digest(core::as_bytes_of(sealed), 24).has_value());
    sealed.pdu.completion.cid = 0x1235;
    const auto checked = check_header_digest(core::as_bytes_of(sealed), 24);
    ASSERT_FALSE(checked.has_value());
    EXPECT_EQ(checked.error(), (Fault{FatalError::HeaderDigestError, sealed.digest.get()}));
}

TEST(Header_digest, known_crc_vector) {
    // RFC 3720 B.4: 32 bytes of zeros have CRC32C aa 36 91 8a on the wire.
    std::vector<std::byte> block(36);
    seal_header(block, 32);
    EXPECT_EQ(block[32], std::byte{0xaa});
    EXPECT_EQ(block[33], std::byte{0x36});
    EXPECT_EQ(block[34], std::byte{0x91});
    EXPECT_EQ(block[35], std::byte{0x8a});
}

class FrameDecoderTest : public testing::Test {
  public:
    FrameDecoderTest() { decoder.new_rules() = kToController; }
    std::expected<void, Fault> decode(const CommonHeader& in) {
        std::array<std::byte, sizeof(CommonHeader)> bytes;
        std::memcpy(bytes.data(), &in, sizeof(in));
        return decoder.decode(bytes.data());
    }

    FrameDecoder decoder;
};

TEST_F(FrameDecoderTest, SameHeaderAgain_givesTheSameFrame) {
    const CommonHeader in = header(PduType::CapsuleCmd, 0, 72, 72, 72 + 512);
    for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(decode(in).has_value());
        EXPECT_EQ(decoder.frame().type, PduType::CapsuleCmd);
        EXPECT_EQ(decoder.frame().data_size, 512U);
    }
    ASSERT_TRUE(decode(header(PduType::CapsuleCmd, 0, 72, 0, 72)).has_value());
    EXPECT_EQ(decoder.frame().data_size, 0U);
}

TEST_F(FrameDecoderTest, BadHeader_isRefusedEachTime_andLeavesNoFrameBehind) {
    const CommonHeader good = header(PduType::CapsuleCmd, 0, 72, 72, 72 + 512);
    const CommonHeader bad = header(PduType::CapsuleCmd, 0, 71, 72, 72 + 512);
    ASSERT_TRUE(decode(good).has_value());
    EXPECT_FALSE(decode(bad).has_value());
    EXPECT_FALSE(decode(bad).has_value());
    EXPECT_TRUE(decode(good).has_value());
    EXPECT_EQ(decoder.frame().data_size, 512U);
}

TEST_F(FrameDecoderTest, FirstHeaderIsAllZeros_isRefused) {
    EXPECT_FALSE(decode(CommonHeader{}).has_value());
}

TEST_F(FrameDecoderTest, NewRules_theSameHeaderIsDecodedAnew) {
    const CommonHeader in = header(PduType::CapsuleCmd, 0, 72, 72, 72 + 512);
    ASSERT_TRUE(decode(in).has_value());
    decoder.new_rules().max_in_capsule = 256;
    EXPECT_FALSE(decode(in).has_value());
}

}  // namespace
}  // namespace remora::nvme::tcp
