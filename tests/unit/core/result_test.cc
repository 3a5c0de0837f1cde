// SPDX-License-Identifier: Apache-2.0
#include "core/result.h"

#include <cerrno>
#include <set>

#include <gtest/gtest.h>

namespace remora::core {
namespace {

constexpr ErrorKind kAll[] = {
    ErrorKind::InvalidArgument,    ErrorKind::NotFound,          ErrorKind::AlreadyExists,
    ErrorKind::FailedPrecondition, ErrorKind::ResourceExhausted, ErrorKind::Unavailable,
    ErrorKind::DeadlineExceeded,   ErrorKind::PermissionDenied,  ErrorKind::Aborted,
    ErrorKind::Unimplemented,      ErrorKind::DataLoss,          ErrorKind::Internal,
};

TEST(Result, ToString_everyKind_hasItsOwnName) {
    std::set<std::string_view> names;
    for (const ErrorKind kind : kAll) {
        EXPECT_FALSE(to_string(kind).empty());
        names.insert(to_string(kind));
    }
    EXPECT_EQ(names.size(), std::size(kAll));
}

TEST(Result, Fail_givesKindAndSentence) {
    const Result<int> result = fail(ErrorKind::NotFound, "no volume 'a'");
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().kind, ErrorKind::NotFound);
    EXPECT_EQ(result.error().message, "no volume 'a'");
}

TEST(Result, Fail_withCause_keepsTheKindAndPutsContextInFront) {
    const Error cause{ErrorKind::Unavailable, "connection refused"};
    const Result<void> result = fail("attach", cause);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().kind, ErrorKind::Unavailable);
    EXPECT_EQ(result.error().message, "attach: connection refused");
}

struct ErrnoCase {
    int number;
    ErrorKind kind;
};
class FailErrno : public testing::TestWithParam<ErrnoCase> {};

TEST_P(FailErrno, Kind_followsTheErrno) {
    const Result<void> result = fail_errno("open", GetParam().number);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().kind, GetParam().kind);
    EXPECT_EQ(result.error().message, "open: " + std::string(errno_text(GetParam().number)));
}

INSTANTIATE_TEST_SUITE_P(Table,
                         FailErrno,
                         testing::Values(ErrnoCase{ENOENT, ErrorKind::NotFound},
                                         ErrnoCase{ELOOP, ErrorKind::InvalidArgument},
                                         ErrnoCase{ENXIO, ErrorKind::InvalidArgument},
                                         ErrnoCase{EFBIG, ErrorKind::InvalidArgument},
                                         ErrnoCase{EADDRNOTAVAIL, ErrorKind::InvalidArgument},
                                         ErrnoCase{EAFNOSUPPORT, ErrorKind::InvalidArgument},
                                         ErrnoCase{EROFS, ErrorKind::FailedPrecondition},
                                         ErrnoCase{ETXTBSY, ErrorKind::FailedPrecondition},
                                         ErrnoCase{EEXIST, ErrorKind::AlreadyExists},
                                         ErrnoCase{EACCES, ErrorKind::PermissionDenied},
                                         ErrnoCase{ENOSPC, ErrorKind::ResourceExhausted},
                                         ErrnoCase{EMFILE, ErrorKind::ResourceExhausted},
                                         ErrnoCase{ECONNREFUSED, ErrorKind::Unavailable},
                                         ErrnoCase{EHOSTUNREACH, ErrorKind::Unavailable},
                                         ErrnoCase{ETIMEDOUT, ErrorKind::DeadlineExceeded},
                                         ErrnoCase{EINVAL, ErrorKind::InvalidArgument},
                                         ErrnoCase{EADDRINUSE, ErrorKind::FailedPrecondition},
                                         ErrnoCase{ECANCELED, ErrorKind::Aborted},
                                         ErrnoCase{EIO, ErrorKind::Internal}));

TEST(Result, ErrnoText_unknownNumber_saysSo) {
    EXPECT_EQ(errno_text(ENOENT), "No such file or directory");
    EXPECT_EQ(errno_text(12345), "unknown error");
    EXPECT_EQ(errno_text(-1), "unknown error");
}

}  // namespace
}  // namespace remora::core
